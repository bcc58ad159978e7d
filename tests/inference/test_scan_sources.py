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


@pytest.mark.parametrize(
    ("name", "case", "day"),
    [("case7_day20", "case7", 20), ("sub-01_ses-02_T1w", "sub-01", 2), ("liver", "liver", None)],
)
def test_the_name_of_an_input_tells_case_and_day(
    tmp_path: Path, name: str, case: str, day: int | None
) -> None:
    (tmp_path / f"{name}.nii.gz").touch()
    ensemble = SimpleNamespace(facts=SimpleNamespace(channels=("mr",), slice_mm=None))

    (source,) = find_scan_sources(InferArguments(input=(tmp_path / f"{name}.nii.gz",)), ensemble)

    assert (source.case, source.day) == (case, day)


def test_the_day_of_inputs_of_one_name_is_told_by_the_name_they_get(tmp_path: Path) -> None:
    for folder in ("a_day1", "a_day2"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "image.nii.gz").touch()
    ensemble = SimpleNamespace(facts=SimpleNamespace(channels=("mr",), slice_mm=None))

    sources = find_scan_sources(InferArguments(input=tuple(tmp_path.glob("*/image.nii.gz"))), ensemble)

    assert {(one.case, one.day) for one in sources} == {("a", 1), ("a", 2)}
