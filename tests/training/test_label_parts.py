import numpy as np
import pytest

from tests import tiny
from volseg.data.dataset import Dataset
from volseg.data.volume import Volume
from volseg.data.volume_files import write_volume
from volseg.errors import UserError
from volseg.postprocessing import KeepLargest
from volseg.training.label_parts import measure_parts, steps_by_labels


def split_stomach(dataset: Dataset, name: str) -> None:
    """Label the stomach of one scan as two far corners, of 8 and of 1 voxels."""
    mask = np.zeros(tiny.SHAPE, np.uint8)
    mask[:2, :2, :2] = mask[-1, -1, -1] = 1
    write_volume(Volume(mask, tiny.AFFINE), dataset.folder / f"labels/{name}/stomach.nii.gz")


def test_parts_are_measured_in_mm3_and_joined_over_corners(tmp_path) -> None:
    dataset = tiny.write(tmp_path, cases=1, days=1)
    split_stomach(dataset, "case1_day0")

    found = measure_parts(dataset, dataset.samples[0])

    assert found["stomach"].case == "case1"
    assert sorted(found["stomach"].volumes_mm3) == pytest.approx([6.75, 8 * 6.75])
    assert len(found["large_bowel"].volumes_mm3) == 1


def test_only_the_scans_that_are_named_have_a_say(tmp_path) -> None:
    dataset = tiny.write(tmp_path, days=1)
    split_stomach(dataset, "case6_day0")
    train = [sample.name for sample in dataset.samples if sample.case != "case6"]

    assert steps_by_labels(dataset, train).steps == (KeepLargest(k=1),)
    assert len(steps_by_labels(dataset, [*train, "case6_day0"]).steps) > 1


def test_labels_that_cannot_be_read_are_named(tmp_path) -> None:
    dataset = tiny.write(tmp_path, days=1)
    (tmp_path / "labels/case2_day0/stomach.nii.gz").write_bytes(b"")

    with pytest.raises(UserError, match=r"case2_day0/stomach\.nii\.gz"):
        steps_by_labels(dataset, [sample.name for sample in dataset.samples])
