"""What `infer --input` takes for scans."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from volseg.arguments import InferArguments
from volseg.errors import UserError
from volseg.inference.scan_sources import find_scan_sources


@pytest.mark.parametrize(
    "name", ["..nii", "...nii", ".nii.gz", ".hidden.nii.gz", "-x.nii", "nul.nii.gz", "\n.nii"]
)
def test_a_file_without_a_name_for_its_scan_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()

    ensemble = SimpleNamespace(facts=SimpleNamespace(channels=("mr",), slice_mm=None))

    with pytest.raises(UserError, match="can't be the name of a scan") as caught:
        find_scan_sources(InferArguments(input=(tmp_path / name,)), ensemble)

    assert name.strip() in str(caught.value)


def test_a_distance_of_slices_is_refused_where_no_input_has_slices(tmp_path: Path) -> None:
    (tmp_path / "v.nii.gz").touch()
    ensemble = SimpleNamespace(facts=SimpleNamespace(channels=("mr",), slice_mm=5.0))

    with pytest.raises(UserError, match="--slice-mm: is of folders of slices"):
        find_scan_sources(InferArguments(input=(tmp_path / "v.nii.gz",), slice_mm=4.0), ensemble)
