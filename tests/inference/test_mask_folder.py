"""Masks of nnU-Net, TotalSegmentator and by hand in the place of volseg's own."""

import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from tests import predicted, tiny
from volseg.data.dataset import Dataset
from volseg.errors import UserError
from volseg.inference.mask_folder import load_masks

SCANS = ("case1_day0", "case2_day0")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return tiny.write(tmp_path_factory.mktemp("data"), cases=2, days=1, exclusive=True)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "above" / "masks"


def save(voxels: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(voxels, tiny.AFFINE), path)


def label_map(dataset: Dataset, scan: str) -> np.ndarray:
    """1 and 2 for the classes, in the dataset's order."""
    masks = dataset.labels(dataset.select_samples(scan)[0])
    return (masks * np.array([1, 2])[:, None, None, None]).sum(axis=0).astype(np.uint8)


def write_maps(out: Path, dataset: Dataset, ending: str = ".nii.gz", values: tuple[int, ...] = (0, 1, 2)):
    for scan in SCANS:
        save(np.array(values, np.uint8)[label_map(dataset, scan)], out / f"{scan}{ending}")


def write_folders(out: Path, dataset: Dataset, inner: str = "", ending: str = ".nii.gz") -> None:
    for scan in SCANS:
        for name in (*tiny.CLASSES, "heart", "liver"):
            mask = np.zeros(tiny.SHAPE, bool)
            if name in tiny.CLASSES:
                mask = dataset.label(dataset.select_samples(scan)[0], name)
            save(mask.astype(np.uint8), out / scan / inner / f"{name}{ending}")


def classes_found(out: Path, dataset: Dataset) -> dict[str, dict[str, tuple[str, tuple[int, ...]]]]:
    """The file and values of each class by scan."""
    return {
        one.scan: {name: (str(mask.path.relative_to(out)), mask.values) for name, mask in one.masks.items()}
        for one in load_masks(out, dataset).predictions
    }


def refusal(out: Path, dataset: Dataset | None) -> str:
    with pytest.raises(UserError) as caught:
        load_masks(out, dataset)
    return str(caught.value)


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".NII.GZ", ".Nii"])
def test_maps_without_names_are_in_the_datasets_order_which_is_told(
    dataset: Dataset, out: Path, ending: str
) -> None:
    write_maps(out, dataset)
    for file in list(out.iterdir()):
        file.rename(out / f"{file.name.removesuffix('.nii.gz')}{ending}")

    found = classes_found(out, dataset)

    file = f"case1_day0{ending}"
    assert found["case1_day0"] == {"large_bowel": (file, (1,)), "stomach": (file, (2,))}
    assert list(found) == list(SCANS)
    assert any("taken as 1 large_bowel, 2 stomach" in note for note in load_masks(out, dataset).notes)


@pytest.mark.parametrize("above", [0, 1, 2])
def test_a_dataset_json_names_the_values_of_maps(dataset: Dataset, out: Path, above: int) -> None:
    write_maps(out, dataset)
    labels = {"background": 0, "stomach": 1, "large_bowel": [2, 3], "heart": 4, "ignore": 5}
    place = [out, *out.parents][above]
    (place / "dataset.json").write_text(json.dumps({"labels": labels}))

    found = classes_found(out, dataset)["case2_day0"]

    assert {name: values for name, (_, values) in found.items()} == {"large_bowel": (2, 3), "stomach": (1,)}
    notes = load_masks(out, dataset).notes
    assert any("left out: heart" in note for note in notes)
    assert not any("order" in note for note in notes)
    assert any(f"named by {place / 'dataset.json'}" in note for note in notes) == bool(above)


def test_a_dataset_json_without_a_class_is_refused_with_the_nearest_name(dataset: Dataset, out: Path) -> None:
    write_maps(out, dataset)
    labels = {"background": 0, "Large-Bowel": 1, "stomach": 2}
    (out / "dataset.json").write_text(json.dumps({"labels": labels}))

    assert '"labels" lack large_bowel, did you mean Large-Bowel?' in refusal(out, dataset)


@pytest.mark.parametrize("inner", ["", "segmentations"])
def test_a_file_a_class_is_found_in_a_scans_folder(dataset: Dataset, out: Path, inner: str) -> None:
    write_folders(out, dataset, inner)

    file = str(Path("case1_day0", inner, "stomach.nii.gz"))
    assert classes_found(out, dataset)["case1_day0"]["stomach"] == (file, ())
    assert any("left out: heart, liver" in note for note in load_masks(out, dataset).notes)


@pytest.mark.parametrize("name", ["case1_day0", "segmentation"])
def test_a_map_in_a_scans_own_folder_is_taken(dataset: Dataset, out: Path, name: str) -> None:
    save(label_map(dataset, "case1_day0"), out / "case1_day0" / f"{name}.nrrd.nii.gz")
    (out / "case1_day0" / f"{name}.nrrd.nii.gz").rename(out / "case1_day0" / f"{name}.nii.gz")

    found = classes_found(out, dataset)["case1_day0"]

    assert found["stomach"] == (f"case1_day0/{name}.nii.gz", (2,))


def test_nothing_is_invented_about_what_made_them(dataset: Dataset, out: Path) -> None:
    write_folders(out, dataset)
    masks = load_masks(out, dataset)

    for one in masks.predictions:
        assert (one.run, one.weights, one.seen, one.version) == ("", "", "unknown", "unknown")
        assert (one.confidence, one.check, one.changes, one.key) == ({}, (), {}, "")
    assert "what made these masks, and whether it was trained on the scans, is unknown" in masks.notes[0]


def test_scans_that_the_dataset_lacks_are_told_with_the_nearest(dataset: Dataset, out: Path) -> None:
    write_maps(out, dataset)
    (out / "case2_day0.nii.gz").rename(out / "case2_day0_0000.nii.gz")

    masks = load_masks(out, dataset)

    assert [one.scan for one in masks.predictions] == ["case1_day0"]
    assert any("case2_day0_0000, did you mean case2_day0?" in note for note in masks.notes)


def spoil(change: str, out: Path) -> None:
    first = out / "case1_day0"
    if change == "no scan":
        first.rename(out / "Case1-Day0")
        shutil.rmtree(out / "case2_day0")
    elif change == "no class":
        for scan in SCANS:
            (out / scan / "large_bowel.nii.gz").rename(out / scan / "Large bowel.nii.gz")
    elif change == "one lacks it":
        (first / "stomach.nii.gz").unlink()
    elif change == "two files":
        shutil.copy(first / "stomach.nii.gz", first / "stomach.nii")
    elif change == "two forms":
        shutil.copy(first / "stomach.nii.gz", out / "case1_day0.nii.gz")
    elif change == "no masks":
        shutil.rmtree(out)
        out.mkdir()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("no scan", "Case1-Day0: no scan of .* which has case1_day0, case2_day0, did you mean case1_day0"),
        ("no class", "no scan has the class large_bowel, did you mean Large bowel"),
        ("one lacks it", "case1_day0: no file of stomach, which other scans have"),
        ("two files", r"stomach.nii and .*stomach.nii.gz: .*keep one"),
        ("two forms", "case1_day0.nii.gz: there is a folder of that name too"),
        ("no masks", "no masks in it; expected <scan>/<class>.nii.gz or"),
    ],
)
def test_what_is_amiss_is_refused_by_name(dataset: Dataset, out: Path, change: str, told: str) -> None:
    write_folders(out, dataset)
    spoil(change, out)

    with pytest.raises(UserError, match=told):
        load_masks(out, dataset)


def test_the_folder_of_one_scan_is_told_from_that_of_all(dataset: Dataset, out: Path) -> None:
    write_folders(out, dataset)

    assert f"is it one scan? name the folder that it lies in: {out}" in refusal(out / SCANS[0], dataset)


def test_folders_of_classes_are_told_from_those_of_scans(dataset: Dataset, out: Path) -> None:
    for name in tiny.CLASSES:
        save(np.zeros(tiny.SHAPE, np.uint8), out / name / f"{SCANS[0]}.nii.gz")

    assert "has folders of classes, not of scans; expected <scan>/<class>.nii.gz" in refusal(out, dataset)


def test_a_prediction_without_its_record_is_no_other_tools(dataset: Dataset, out: Path) -> None:
    for scan in SCANS:
        predicted.write(out, dataset, scan)
    (out / SCANS[0] / "record.json").unlink()

    assert "masks without record.json among predictions by volseg: another tool" in refusal(out, dataset)


def test_masks_of_another_tool_need_their_dataset(dataset: Dataset, out: Path) -> None:
    write_maps(out, dataset)

    assert "name the dataset of their scans by --data" in refusal(out, None)


def test_of_masks_that_were_corrected_by_hand_the_record_tells_nothing_any_more(
    dataset: Dataset, out: Path
) -> None:
    told = {name: {"dice": None, "calibrated": True, "volume_ml": 0.0} for name in tiny.CLASSES}
    for scan in SCANS:
        predicted.write(out, dataset, scan, confidence=told, changes={"stomach": []}, check=[[1, 2]])
    mask = out / SCANS[0] / "stomach.nii.gz"
    save(np.ones(tiny.SHAPE, np.uint8), mask)

    masks = load_masks(out, dataset)

    corrected, untouched = masks.predictions
    assert set(corrected.confidence) == {"large_bowel"}
    assert corrected.changes == {}
    assert corrected.check == ()
    assert set(untouched.confidence) == set(tiny.CLASSES)
    assert [note.partition(";")[0] for note in masks.notes] == [
        f"{SCANS[0]}: corrected by hand after it was predicted: stomach"
    ]


@pytest.mark.parametrize(("predicted_image", "prepared_image", "refused"), [
    ("a", "a", False), ("a", "b", True), ("", "b", False), ("a", "", False),
])  # fmt: skip
def test_masks_of_another_image_than_the_datasets_scan_of_their_name_are_refused(
    tmp_path: Path, out: Path, predicted_image: str, prepared_image: str, refused: bool
) -> None:
    made = tiny.write(tmp_path / "data", cases=1, days=1)
    sample = made.samples[0].model_copy(update={"image_hash": prepared_image})
    other = Dataset(made.folder, made.facts.model_copy(update={"samples": (sample,)}))
    source = ["/clinic/image.nii.gz"] if predicted_image else []
    predicted.write(out, other, sample.name, image_hash=predicted_image, source=source)

    if refused:
        with pytest.raises(
            UserError, match=r"another image than case1_day0 .*: of /clinic/image.nii.gz; pass"
        ):
            load_masks(out, other)
    else:
        assert len(load_masks(out, other).predictions) == 1


def test_a_map_that_names_its_values_itself_is_taken_by_these_names(dataset: Dataset, out: Path) -> None:
    """TotalSegmentator's file of all classes, and 3D Slicer's segmentation."""
    text = "".join(
        f'<Label Key="{value}" Red="0.1"><![CDATA[{name}]]></Label>'
        for value, name in ((1, "stomach"), (2, "heart"), (7, "large_bowel"))
    )
    image = nibabel.Nifti1Image(label_map(dataset, SCANS[0]), tiny.AFFINE)
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension(0, f"<CaretExtension>{text}".encode()))
    out.mkdir(parents=True)
    nibabel.save(image, out / f"{SCANS[0]}.nii.gz")
    segmentation = sitk.GetImageFromArray(label_map(dataset, SCANS[1]))
    for key, value in (("Segment0_Name", "large_bowel"), ("Segment0_LabelValue", "2")):
        segmentation.SetMetaData(key, value)
    for key, value in (("Segment1_LabelValue", "5"), ("Segment1_Name", "stomach")):
        segmentation.SetMetaData(key, value)
    sitk.WriteImage(segmentation, str(out / f"{SCANS[1]}.seg.nrrd"), True)

    found = classes_found(out, dataset)

    values = [{name: values for name, (_, values) in found[scan].items()} for scan in SCANS]
    assert values == [{"large_bowel": (7,), "stomach": (1,)}, {"large_bowel": (2,), "stomach": (5,)}]
    assert not any("order" in note for note in load_masks(out, dataset).notes)
    image.header.extensions[0] = nibabel.nifti1.Nifti1Extension(
        0, text.replace("stomach", "Stomach").encode()
    )
    nibabel.save(image, out / f"{SCANS[0]}.nii.gz")
    assert "its header names no stomach, did you mean Stomach?" in refusal(out, dataset)


def test_images_beside_the_folder_of_masks_are_no_masks(dataset: Dataset, out: Path) -> None:
    write_folders(out, dataset, "segmentations")
    for scan in SCANS:
        save(np.zeros(tiny.SHAPE, np.int16), out / scan / "ct.nii.gz")

    file = "case1_day0/segmentations/stomach.nii.gz"
    assert classes_found(out, dataset)["case1_day0"]["stomach"] == (file, ())


def test_maps_among_predictions_are_said_not_to_be_read(dataset: Dataset, out: Path) -> None:
    predicted.write(out, dataset, SCANS[0])
    save(label_map(dataset, SCANS[0]), out / f"{SCANS[0]}.nii.gz")

    (note,) = load_masks(out, dataset).notes

    assert f"{SCANS[0]}.nii.gz: not read beside predictions by volseg" in note


def test_files_that_look_like_another_version_of_a_mask_are_said_not_to_count(
    dataset: Dataset, out: Path
) -> None:
    folder = predicted.write(out, dataset, SCANS[0])
    for name in ("stomach.nii", "stomach_corrected.nii.gz", "stomach_probability.nii.gz", "image.nii.gz"):
        save(np.zeros(tiny.SHAPE, np.uint8), folder / name)

    (note,) = load_masks(out, dataset).notes

    assert "stomach_corrected.nii.gz" in note
    assert note.endswith("not read; what counts is stomach.nii.gz")
    assert not {"probability", "image"} & set(note.replace(".", "_").split("_"))


def test_whoever_reads_masks_is_told_which_were_made_by_less_than_all_networks_and_views(
    dataset: Dataset, out: Path
) -> None:
    predicted.write(out, dataset, SCANS[0], reduced="1 of 5 networks")
    predicted.write(out, dataset, SCANS[1])

    (note,) = load_masks(out, dataset).notes

    assert note.startswith(f"{SCANS[0]}: by 1 of 5 networks, to keep --max-time")


def test_whoever_reads_masks_is_told_of_several_runs_and_of_weights_that_a_run_no_longer_has(
    tmp_path: Path, out: Path
) -> None:
    dataset = tiny.write(tmp_path / "data", cases=3, days=1)
    scans = [sample.name for sample in dataset.samples]
    for scan, run, weights, finished in zip(scans, "aab", ("old", "new", "other"), "123", strict=True):
        predicted.write(out, dataset, scan, run=run, weights=weights, computed={"finished": finished})

    several, older = load_masks(out, dataset).notes

    assert several == "these masks are by several runs: a (2 scans), b (1 scan)"
    assert older.startswith(f"{scans[0]}: by other weights of a than its newest masks; ")
