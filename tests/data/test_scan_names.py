import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import volseg
from volseg.data.layouts import Nifti
from volseg.data.layouts.gi_tract.slice_scan import NAME
from volseg.data.scan_names import case_and_day


@given(st.from_regex(NAME, fullmatch=True))
def test_of_a_name_in_the_raw_layout_the_case_is_all_before_the_day(name: str) -> None:
    assert (
        case_and_day(name)[0]
        == name.partition("_day")[0]
        == name.rsplit("_day", 1)[0]
        == NAME.fullmatch(name)[1]
    )


@pytest.mark.parametrize(
    ("name", "case"),
    [
        ("case1_day2", "case1"),
        ("a_day1_day2", "a_day1"),  # here all before the first "_day" is another case,
        ("liver_daylight", "liver_daylight"),  # and here what stands before the last one
        ("x_day", "x_day"),
        ("_day3", "_day3"),
    ],
)
def test_of_a_volume_the_case_is_what_its_layout_says(tmp_path: Path, name: str, case: str) -> None:
    (tmp_path / f"{name}.nii.gz").touch()
    listing = {"labels": {"0": "background", "1": "a"}, "training": [{"image": f"{name}.nii.gz"}]}
    (tmp_path / "dataset.json").write_text(json.dumps(listing))

    (scan,) = Nifti().scans(tmp_path).scans

    assert (scan.name, scan.case) == (name, case)
    assert case_and_day(name)[0] == case


@pytest.mark.parametrize(
    ("name", "case", "day"),
    [
        ("case123_day20", "case123", 20),
        ("x_ses-2", "x", 2),
        ("x_ses-2_flair", "x", 2),
        ("patient01_visit3", "patient01", 3),
        ("Patient-01_Visit-3", "Patient-01", 3),
        ("p_tp1", "p", 1),
        ("p_timepoint2_T1", "p", 2),
        ("p_session_03", "p", 3),
        ("sub-01_ses-02_T1w", "sub-01", 2),
        ("sub-01_ses-baseline_T2w", "sub-01", 0),
        ("sub-01_ses-M12_T2w", "sub-01", 12),
        ("x_ses-followup", "x", 0),
        ("sub-01_acq-fast_run-2_T1w", "sub-01", 0),
        ("sub-A1", "sub-A1", 0),
        ("liver_130", "liver_130", 0),
        ("hippocampus_001", "hippocampus_001", 0),
        ("BRATS_001_T1", "BRATS_001_T1", 0),
        ("submarine_1", "submarine_1", 0),
    ],
)
def test_sessions_visits_and_time_points_are_days_of_one_case(name: str, case: str, day: int) -> None:
    assert case_and_day(name) == (case, day)


def test_only_layouts_and_inputs_go_by_names_and_readers_of_older_files() -> None:
    """Everything else has cases from the dataset's table."""
    root = Path(volseg.__file__).parent
    files = (path for path in root.rglob("*.py") if "case_and_day(" in path.read_text())
    names = {path.relative_to(root).with_suffix("").as_posix() for path in files}
    users = {name for name in names if not name.startswith("data/layouts/")}

    assert users == {
        "data/scan_names",
        "data/volumes_to_slices/raw_names",  # the raw layout's own names
        "inference/scan_sources",  # infer --input
        "inference/confidence/calibration_file",  # of earlier versions
        "runs/run_files",  # of earlier versions
    }
