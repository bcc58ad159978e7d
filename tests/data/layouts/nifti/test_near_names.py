"""Files that are there under nearly the names of a listing."""

import json
from pathlib import Path

import pytest

from volseg.data.layouts import Nifti, RawDataset

LABELS = {"0": "background", "1": "a"}


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def read(root: Path, training: list[object] | None, **told: object) -> RawDataset:
    listed = {} if training is None else {"training": training}
    (root / "dataset.json").write_text(json.dumps({"labels": LABELS, **listed, **told}))
    return Nifti().scans(root)


def near(dataset: RawDataset) -> list[str]:
    return [one.message for one in dataset.findings if one.kind == "near name"]


NEAR = {
    "another ending": ("i/{}.nii", "l/{}.nii.gz", "i/{}.nii.gz", "l/{}.nii.gz", "as .nii.gz, not .nii"),
    "no ending": ("i/{}", "l/{}.nii.gz", "i/{}.nii.gz", "l/{}.nii.gz", "as .nii.gz, not without an ending"),
    "images without _0000": ("i/{}.nii", "l/{}.nii", "i/{}_0000.nii", "l/{}.nii", "with _0000"),
    "images with _0000": ("i/{}_0000.nii", "l/{}.nii", "i/{}.nii", "l/{}.nii", "without _0000"),
    "labels with _0000": ("i/{}.nii", "l/{}_0000.nii", "i/{}.nii", "l/{}.nii", "without _0000"),
    "backslashes": ("i\\{}.nii", "l/{}.nii", "i/{}.nii", "l/{}.nii", "with / for \\"),
    "capitals": ("I/{}.NII", "l/{}.nii", "i/{}.nii", "l/{}.nii", ""),
    "another computer": ("/x/y/i/{}.nii", "l/{}.nii", "i/{}.nii", "l/{}.nii", "in the folders of this"),
    "another drive": ("C:\\y\\i\\{}.nii", "l/{}.nii", "i/{}.nii", "l/{}.nii", "with / for \\"),
    "from the folder above": ("set/i/{}.nii", "l/{}.nii", "i/{}.nii", "l/{}.nii", "in the folders of this"),
}


@pytest.mark.parametrize("kind", NEAR)
def test_a_kind_of_near_names_is_told_once_with_counts_and_taken(tmp_path: Path, kind: str) -> None:
    image, label, image_there, label_there, words = NEAR[kind]
    for number in range(12):
        touch(tmp_path, image_there.format(f"p{number}"), label_there.format(f"p{number}"))
    items = [{"image": image.format(f"p{n}"), "label": label.format(f"p{n}")} for n in range(12)]

    dataset = read(tmp_path, items)

    (line,) = near(dataset)
    assert "12 of 12 " in line
    assert words in line
    assert [scan.name for scan in dataset.scans] == [f"p{number}" for number in range(12)]
    assert all(file.is_file() for scan in dataset.scans for file in scan.files)
    assert not any(one.severity == "error" for one in dataset.findings)


@pytest.mark.parametrize("found", [("i/p.nii.gz", "i/p.mha"), ("elsewhere/p.nii",), ("i/p1.nii",), ()])
def test_of_several_near_files_or_none_nothing_is_taken(tmp_path: Path, found: tuple[str, ...]) -> None:
    touch(tmp_path, "i/q.nii", *found)

    dataset = read(tmp_path, ["i/p.nii", "i/q.nii"])

    assert near(dataset) == []
    assert [scan.name for scan in dataset.scans] == ["q"]
    assert [one.kind for one in dataset.findings if one.severity == "error"] == ["missing file"]


def test_a_listing_none_of_whose_files_is_here_is_one_error(tmp_path: Path) -> None:
    errors = [
        one for one in read(tmp_path, [f"p{n}.nii" for n in range(40)]).findings if one.severity == "error"
    ]

    assert [one.scan for one in errors] == [""]
    assert "none of its 40 scans has its files: " in errors[0].message


@pytest.mark.parametrize("first", [0, 1, 390])
def test_numbers_of_cases_are_no_channels_of_one_patient(tmp_path: Path, first: int) -> None:
    numbers = range(first, first + 12)
    for number in numbers:
        touch(tmp_path, f"imagesTr/liver_{number:04d}.nii.gz", f"labelsTr/liver_{number:04d}.nii.gz")
        touch(tmp_path, f"imagesTs/new_{number:04d}.nii.gz")

    dataset = read(tmp_path, None, channel_names={"0": "CT"})

    assert [scan.name for scan in dataset.scans] == [
        f"{name}_{number:04d}" for name in ("liver", "new") for number in numbers
    ]
    assert len(near(dataset)) == 2
    assert not any(one.severity == "error" for one in dataset.findings)


def test_of_a_scan_in_a_datalist_numbers_of_cases_are_no_channels(tmp_path: Path) -> None:
    touch(tmp_path, "liver_0401.nii.gz", "a.nii.gz")

    errors = [one.message for one in read(tmp_path, ["liver.nii.gz", "a.nii.gz"]).findings if one.scan]

    assert errors == [f"{tmp_path}/liver.nii.gz: no such file; expected an image of liver"]


def test_names_of_cases_keep_their_last_number(tmp_path: Path) -> None:
    files = [f"liver_{number:04d}.nii.gz" for number in range(3)]
    touch(tmp_path, *files)

    assert [scan.name for scan in read(tmp_path, files).scans] == ["liver_0000", "liver_0001", "liver_0002"]


def test_nnunets_labels_with_a_channel_and_other_endings_are_paired(tmp_path: Path) -> None:
    for number in range(3):
        touch(tmp_path, f"imagesTr/p{number}_0000.nii.gz", f"labelsTr/P{number}_0000.nii")

    dataset = read(tmp_path, None, channel_names={"0": "CT"})

    assert [(scan.name, scan.label.name) for scan in dataset.scans] == [
        (f"p{number}", f"P{number}_0000.nii") for number in range(3)
    ]
    assert not any(one.severity == "error" for one in dataset.findings)
