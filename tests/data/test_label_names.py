from pathlib import Path

import nibabel
import numpy as np
import pytest

from volseg.data.label_names import read_label_names


def test_a_map_without_names_and_a_damaged_file_name_nothing(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.zeros((3, 3, 3), np.uint8), np.eye(4)), tmp_path / "a.nii.gz")
    whole = (tmp_path / "a.nii.gz").read_bytes()
    (tmp_path / "b.nii.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "c.nii.gz").write_bytes(b"")

    for name in ("a", "b", "c", "missing"):
        assert read_label_names(tmp_path / f"{name}.nii.gz") == {}


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_header_of_a_slicer_segmentation_names_its_values(tmp_path: Path, end: str) -> None:
    lines = ["NRRD0004", "Segment0_LabelValue:=3", "Segment0_Name:=liver", "Segment1_Name:=no value", "", ""]
    (tmp_path / "a.seg.nrrd").write_bytes(end.join(lines).encode() + bytes(27))

    assert read_label_names(tmp_path / "a.seg.nrrd") == {"liver": (3,)}
