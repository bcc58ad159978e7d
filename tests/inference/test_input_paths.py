from pathlib import Path

import pytest

from volseg.errors import UserError
from volseg.inference.input_paths import channels_problem, distinct_names, find_input_files


def make(folder: Path, *names: str) -> list[Path]:
    paths = [folder / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return paths


def names_of(paths: list[Path], *channels: str) -> dict[str, list[str]]:
    found = find_input_files(paths, channels)
    return {one.name: [path.name for path in one.paths] for one in found}


def test_files_that_differ_in_a_channels_number_are_one_scan_of_a_run_of_several_channels(
    tmp_path: Path,
) -> None:
    files = make(tmp_path, "b_1_0001.nii.gz", "b_1_0000.nii.gz", "b_2_0000.nii.gz", "b_2_0001.nii.gz")

    assert names_of(files, "T1", "T2") == {
        "b_1": ["b_1_0000.nii.gz", "b_1_0001.nii.gz"],
        "b_2": ["b_2_0000.nii.gz", "b_2_0001.nii.gz"],
    }


def test_of_a_run_of_one_channel_each_file_is_a_scan_and_a_lone_0000_is_no_part_of_its_name(
    tmp_path: Path,
) -> None:
    files = make(tmp_path, "a_0000.nii.gz", "frame_0000.nii.gz", "frame_0001.nii.gz", "x_0003.nii", "y.mha")

    assert list(names_of(files, "MR")) == ["a", "frame_0000", "frame_0001", "x_0003", "y"]


def test_channels_with_a_gap_are_named(tmp_path: Path) -> None:
    files = make(tmp_path, "b_0000.nii.gz", "b_0002.nii.gz")

    problem = find_input_files(files, ("T1", "T2"))[0].problem

    assert "of b there are b_0000.nii.gz, b_0002.nii.gz; expected b_0000, b_0001, each once" in problem


def test_channels_in_two_folders_are_two_scans(tmp_path: Path) -> None:
    files = make(tmp_path, "p/b_0000.nii.gz", "q/b_0001.nii.gz")

    assert len(find_input_files(files, ("T1", "T2"))) == 2


def test_a_folder_of_volumes_is_a_scan_each_in_natural_order(tmp_path: Path) -> None:
    make(tmp_path, "p10.nii.gz", "p9.NII.GZ", "q.nrrd", "notes.txt", ".hidden.nii.gz")

    assert list(names_of([tmp_path], "MR")) == ["p9", "p10", "q"]


@pytest.mark.parametrize("inner", ["scans/slice_0001_9_7_1.50_1.63.png", "slice_0001_9_7_1.50_1.63.png"])
def test_a_folder_with_slices_is_no_folder_of_volumes(tmp_path: Path, inner: str) -> None:
    make(tmp_path, inner, "stomach.nii.gz")

    assert find_input_files([tmp_path], ("MR",))[0].paths == (tmp_path,)


def test_an_input_that_is_named_twice_is_refused(tmp_path: Path) -> None:
    (file,) = make(tmp_path, "a.nii.gz")

    with pytest.raises(UserError, match=r"a\.nii\.gz: named twice"):
        find_input_files([file, tmp_path], ("MR",))


def test_names_that_are_alike_have_as_many_folders_before_them_as_tell_them_apart() -> None:
    scans = [
        ("image", Path("/x/A/T1/image.nii.gz")),
        ("image", Path("/x/B/T1/image.nii.gz")),
        ("image", Path("/x/B/T2/image.nii.gz")),
        ("other", Path("/x/B/T2/other.nii.gz")),
    ]

    assert distinct_names(scans) == ["A_T1_image", "B_T1_image", "T2_image", "other"]


def test_names_that_differ_in_capitals_only_are_alike() -> None:
    assert distinct_names([("s", Path("/a/s.nii")), ("S", Path("/b/S.nii"))]) == ["a_s", "b_S"]


def test_a_run_of_several_channels_says_how_to_give_them() -> None:
    told = channels_problem(1, ("T1", "T2"))

    assert "has 1 channel; the run needs T1, T2" in told
    assert "NAME_0000 (T1), NAME_0001 (T2), or one 4D file" in told
    assert channels_problem(2, ("mr",)) == "has 2 channels; the run needs mr"


@pytest.mark.parametrize("there", ["a.nii.gz", "a_0000.nii", "A.NII"])
def test_a_missing_input_of_nearly_the_name_of_a_volume_is_asked_about(tmp_path: Path, there: str) -> None:
    make(tmp_path, there, "b.nii.gz")

    with pytest.raises(UserError, match=f"a.nii: no such file .*did you mean {there}\\?$"):
        find_input_files([tmp_path / "a.nii"], ("MR",))
