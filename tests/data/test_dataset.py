from pathlib import Path

import nibabel
import numpy as np
import pytest

from tests import tiny
from volseg.data.dataset import FILE, Dataset
from volseg.data.volume import Volume
from volseg.data.volume_files import write_volume
from volseg.errors import UserError


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return tiny.write(tmp_path, cases=2, days=2)


def test_a_dataset_is_read_back_as_it_was_written(dataset: Dataset) -> None:
    assert Dataset.load(dataset.folder).facts == dataset.facts


def test_a_case_is_its_days_and_a_scan_itself(dataset: Dataset) -> None:
    assert [s.name for s in dataset.select_samples("case2")] == ["case2_day0", "case2_day1"]
    assert [s.name for s in dataset.select_samples("case2_day1")] == ["case2_day1"]


def test_an_unknown_name_is_told_the_nearest(dataset: Dataset) -> None:
    with pytest.raises(UserError, match=r"case2_day7: no such case or scan in .* did you mean case2_day"):
        dataset.select_samples("case2_day7")


def test_labels_come_a_channel_a_class(dataset: Dataset) -> None:
    sample = dataset.samples[0]

    labels = dataset.labels(sample)

    assert labels.shape == (len(tiny.CLASSES), *tiny.SHAPE)
    assert labels.dtype == bool
    assert np.array_equal(labels[1], dataset.label(sample, "stomach"))


def test_a_folder_without_a_dataset_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no dataset\.json; make it with `volseg prepare"):
        Dataset.load(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", '{"name": "x"}', "{not json"])
def test_a_damaged_dataset_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)

    with pytest.raises(UserError, match=r"dataset\.json: "):
        Dataset.load(tmp_path)


def test_a_label_of_another_size_is_refused(dataset: Dataset) -> None:
    sample = dataset.samples[0]
    write_volume(Volume(np.zeros((2, 2, 2), np.uint8), np.eye(4)), dataset.folder / sample.labels["stomach"])

    with pytest.raises(
        UserError, match=r"shape 2x2x2.* than its scan \(shape 20x16x10.*run `volseg prepare` again"
    ):
        dataset.labels(sample)


def test_a_scan_without_truth_says_so(dataset: Dataset) -> None:
    sample = dataset.samples[0].model_copy(update={"labels": None})

    with pytest.raises(UserError, match="case1_day0: has no labels"):
        dataset.label(sample, "stomach")


def test_a_label_that_another_tool_saved_in_its_own_axes_is_read_as_it_lies(dataset: Dataset) -> None:
    sample = dataset.samples[0]
    path = dataset.folder / sample.labels["stomach"]
    expected = dataset.label(sample, "stomach")
    image = nibabel.as_closest_canonical(nibabel.load(path))
    turned = np.asarray(image.dataobj).transpose(2, 0, 1) * 255
    nibabel.save(nibabel.Nifti1Image(turned, image.affine[:, [2, 0, 1, 3]]), path)

    assert np.array_equal(dataset.label(sample, "stomach"), expected)
    dataset.check_files([sample])


def test_a_label_of_other_values_is_refused(dataset: Dataset) -> None:
    sample = dataset.samples[0]
    half = Volume(np.full(sample.shape, 0.5, np.float32), tiny.AFFINE)
    write_volume(half, dataset.folder / sample.labels["stomach"])

    with pytest.raises(UserError, match=r"holds the values 0\.5; .*run `volseg prepare` again"):
        dataset.label(sample, "stomach")
