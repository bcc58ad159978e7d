"""What the page is told and sent, and what it sends back: the contract, by requests."""

import errno
import json
import os
import time
from pathlib import Path

import cv2
import nibabel
import numpy as np
import pytest

from tests import predicted, tiny, viewed
from volseg.data import volume_files
from volseg.data.dataset import Dataset
from volseg.data.volume import Volume, stack_affine
from volseg.data.volume_files import write_volume
from volseg.inference.correction_file import read_correction

SCAN = "case2_day1"


@pytest.fixture
def folder(data, tmp_path) -> Path:
    dataset = Dataset.load(data)
    return viewed.predictions(tmp_path / "predictions", dataset, SCAN, "case1_day0", "case2_day0")


@pytest.fixture
def viewer(folder, data) -> viewed.Viewer:
    return viewed.open_viewer(folder, data=data)


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_the_list_has_the_least_trusted_scan_first_and_failed_ones_last(folder, data) -> None:
    predicted.record(folder, "case0_day0", status="failed", reason="too dark", classes=tiny.CLASSES)
    told = viewed.open_viewer(folder, data=data).json("api/scans")

    assert [one["name"] for one in told["scans"]] == [SCAN, "case1_day0", "case2_day0", "case0_day0"]
    first, last = told["scans"][0], told["scans"][-1]
    assert (first["case"], first["day"], first["status"], first["confidence"]) == ("case2", 1, "done", 0.6)
    assert (first["to_check"], first["looked_at"], first["corrected"], first["saved"]) == (4, 0, [], "")
    assert first["organs"][0] == {
        "name": "large_bowel", "title": "large bowel", "confidence": 0.6, "volume_ml": 1.5,
        "flags": ["touches the first slice"],
    }  # fmt: skip
    assert (last["status"], last["reason"], last["confidence"]) == ("failed", "too dark", None)
    assert (told["folder"], told["read_only"]) == (str(folder), False)


def test_a_scan_is_told_on_the_display_grid(viewer) -> None:
    """`tiny` runs to the left, the back and the feet, so the display grid runs the other way."""
    told = viewer.facts(SCAN)

    assert (told["shape"], told["slice_axis"]) == ([20, 16, 10], 2)
    assert told["spacing_mm"] == pytest.approx([1.5, 1.5, 3.0])
    assert told["slice_numbers"] == [10, 9, 8, 7, 6, 5, 4, 3, 2, 1]
    assert told["work"] == [
        {"class": "large_bowel", "first": 6, "last": 7, "numbers": [3, 4]},
        {"class": "stomach", "first": 5, "last": 6, "numbers": [4, 5]},
        {"class": "large_bowel", "first": 3, "last": 3, "numbers": [7, 7]},
        {"class": "", "first": 1, "last": 1, "numbers": [9, 9]},
    ]
    low, high = told["window"]
    assert 100 < low < 500 < high < 1000
    assert (told["image"], told["earlier_scan"], told["unsaved"]) == (True, "case2_day0", None)
    assert (told["previous_scan"], told["next_scan"]) == ("", "case1_day0")
    assert (told["seconds"], told["looked_at"], told["reviewer"], told["read_only"]) == (0, [], "", False)
    first = told["classes"][0]
    assert (first["name"], first["title"], first["colour"]) == ("large_bowel", "large bowel", "#e69f00")
    assert (first["truth"], first["earlier"], first["probability"], first["corrected"]) == (
        True,
        True,
        False,
        False,
    )
    assert [one["colour"] for one in told["classes"]] == ["#e69f00", "#56b4e9"]


def test_voxels_come_as_they_lie_in_the_patient(viewer, data) -> None:
    dataset = Dataset.load(data)
    sample = dataset.select_samples(SCAN)[0]
    image, label = dataset.image(sample), dataset.label(sample, "stomach")

    for name, native in (("image", image.voxels), ("mask/stomach", label), ("truth/stomach", label),
                         ("predicted/stomach", label)):  # fmt: skip
        shown = viewer.volume(SCAN, name)
        assert nibabel.aff2axcodes(shown.affine) == ("R", "A", "S")
        back = nibabel.as_closest_canonical(nibabel.Nifti1Image(native.astype(np.int16), image.affine))
        assert np.array_equal(np.asarray(shown.dataobj), np.asarray(back.dataobj))
        assert np.allclose(shown.affine, back.affine)


def test_the_earlier_day_is_that_of_the_labels_at_its_place(viewer, data) -> None:
    dataset = Dataset.load(data)
    earlier = dataset.label(dataset.select_samples("case2_day0")[0], "stomach")

    assert np.array_equal(viewer.voxels(SCAN, "earlier/stomach"), earlier[::-1, ::-1, ::-1])
    assert viewer.ask("GET", "files/case1_day0/earlier/stomach.nii").status_code == 404


def test_without_a_dataset_the_image_is_that_of_the_record_and_the_earlier_day_a_prediction(tmp_path) -> None:
    rng = np.random.default_rng(0)
    image = rng.normal(100, 20, (6, 5, 4)).astype(np.float32)
    for scan in ("a_day1", "a_day2"):
        mask = rng.random((6, 5, 4)) < 0.5
        viewed.prediction_of(
            tmp_path, scan, {"liver": mask}, viewed.OBLIQUE, image if scan == "a_day2" else None
        )
    viewer = viewed.open_viewer(tmp_path)
    told = viewer.facts("a_day2")

    assert (told["image"], told["earlier_scan"], told["classes"][0]["earlier"]) == (True, "a_day1", True)
    assert np.array_equal(viewer.voxels("a_day2", "earlier/liver"), viewer.voxels("a_day1", "mask/liver"))
    assert np.allclose(np.sort(viewer.voxels("a_day2", "image"), axis=None), np.sort(image, axis=None))
    told = viewer.facts("a_day1")
    assert not told["image"]
    assert "--data" in told["image_reason"]
    assert viewer.ask("GET", "files/a_day1/image.nii").json() == {"error": told["image_reason"]}
    assert viewer.ask("GET", "pictures/a_day1/0.png").status_code == 200


def test_another_image_than_the_predicted_one_is_not_shown(tmp_path) -> None:
    image = np.zeros((4, 4, 4), np.int16)
    viewed.prediction_of(tmp_path, "a", {"liver": image > 0}, np.eye(4), image)
    path = tmp_path / "a/record.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "image_hash": "0" * 32}))

    assert "another image" in viewed.open_viewer(tmp_path).facts("a")["image_reason"]


def test_a_probability_comes_in_255ths(folder, viewer) -> None:
    levels = np.arange(20 * 16 * 10).reshape(20, 16, 10) % 256
    path = folder / SCAN / "stomach_probability.nii.gz"
    write_volume(Volume(levels.astype(np.uint8), tiny.AFFINE), path, slope=1 / 255)

    assert viewer.facts(SCAN)["classes"][1]["probability"]
    assert np.array_equal(viewer.voxels(SCAN, "probability/stomach"), levels[::-1, ::-1, ::-1])
    empty = np.zeros((20, 16, 10))
    cut = viewer.edit(SCAN, "threshold", empty, threshold=0.4, first=2, last=3, **{"class": "stomach"})
    wanted = np.zeros((20, 16, 10), bool)
    wanted[..., 2:4] = (levels >= 102)[::-1, ::-1, ::-1][..., 2:4]
    assert np.array_equal(np.frombuffer(cut.content, np.uint8).reshape((20, 16, 10), order="F"), wanted)


@pytest.mark.parametrize(
    ("shape", "affine"),
    [
        ((360, 310, 6), stack_affine((1.5, 1.5), 3.0)),
        ((9, 14, 7), viewed.OBLIQUE),
        ((9, 14, 7), viewed.OBLIQUE[:, [2, 0, 1, 3]] * [1, -1, 1, 1]),
    ],
    ids=["360x310", "oblique", "oblique and turned"],
)
def test_a_stroke_is_saved_where_it_was_drawn_and_one_of_two_organs_survives(tmp_path, shape, affine) -> None:
    """A stroke without any symmetry, drawn at places in the patient, found again at those places."""
    rng = np.random.default_rng(1)
    masks = {name: rng.random(shape) < 0.3 for name in ("liver", "stomach")}
    folder = viewed.prediction_of(tmp_path, "a", masks, affine)
    viewer = viewed.open_viewer(folder)
    viewer.enter("a")
    shown = viewer.volume("a", "mask/liver")
    drawn = [(0, 1, 2), (1, 1, 2), (2, 1, 2), (2, 2, 2), (5, 3, 4)]
    liver = viewer.voxels("a", "mask/liver").copy()
    for place in drawn:
        liver[place] ^= 1

    answer = viewer.save("a", [liver, viewer.voxels("a", "mask/stomach")])

    assert answer.status_code == 200, answer.text
    assert answer.json()["classes"]["liver"]["changed_voxels"] == len(drawn)
    saved = volume_files.read(folder / "a/corrected/liver.nii.gz")
    expected = masks["liver"].copy()
    for place in drawn:
        there = np.linalg.solve(affine, shown.affine @ [*place, 1])
        native = tuple(np.rint(there[:3]).astype(int))
        assert np.allclose(there[:3], native, atol=1e-3)
        expected[native] ^= True
    assert np.array_equal(saved.voxels, expected)
    assert np.allclose(saved.affine, affine, atol=1e-5)
    kept = (folder / "a/corrected/stomach.nii.gz").read_bytes()
    assert kept == (folder / "a/stomach.nii.gz").read_bytes()


def test_loading_and_saving_without_a_stroke_changes_nothing(viewer, folder) -> None:
    viewer.enter(SCAN)
    answer = viewer.save(SCAN, viewer.masks(SCAN).values())

    assert {one["changed_voxels"] for one in answer.json()["classes"].values()} == {0}
    for name in tiny.CLASSES:
        assert (folder / SCAN / f"corrected/{name}.nii.gz").read_bytes() == (
            folder / SCAN / f"{name}.nii.gz"
        ).read_bytes()


def test_after_saving_the_page_is_told_of_it(viewer, folder) -> None:
    viewer.enter(SCAN)
    masks = viewer.masks(SCAN)
    masks["stomach"][0, 0, 0] = 1
    answer = viewer.save(SCAN, masks.values(), reviewer=" B. Who ").json()
    told, row = viewer.facts(SCAN), viewer.json("api/scans")["scans"][0]

    assert answer["base"] == {one["name"]: one["base"] for one in told["classes"]}
    assert [one["corrected"] for one in told["classes"]] == [False, True]
    assert (told["seconds"], told["looked_at"], told["earlier_reviewer"]) == (61.5, [[3, 4]], "B. Who")
    assert (row["looked_at"], row["to_check"], row["corrected"]) == (1, 4, ["stomach"])
    assert row["saved"] == answer["saved"] == read_correction(folder / SCAN).saved
    assert row["organs"][1]["volume_ml"] == pytest.approx(1.5 + 6.75e-3, abs=1e-3)
    assert viewer.voxels(SCAN, "mask/stomach")[0, 0, 0]
    assert not viewer.voxels(SCAN, "predicted/stomach")[0, 0, 0]
    assert len(told["work"]) == 4, "the list stays as it was"


def test_work_aside_is_offered_until_it_is_saved_or_thrown_away(viewer, folder) -> None:
    viewer.enter(SCAN)
    masks = viewer.masks(SCAN)
    masks["stomach"][0, 0, 0] = 1
    bases = {one["name"]: one["base"] for one in viewer.facts(SCAN)["classes"]}

    answer = viewer.save(SCAN, masks.values(), "unsaved").json()

    assert answer["base"] == bases
    assert viewer.facts(SCAN)["unsaved"] == {
        "saved": answer["saved"], "seconds": 61.5, "looked_at": [[3, 4]], "changed": ["stomach"],
        "outdated": [],
    }  # fmt: skip
    assert viewer.voxels(SCAN, "unsaved/stomach")[0, 0, 0]
    assert not viewer.voxels(SCAN, "mask/stomach")[0, 0, 0]
    told = {"writer": viewer.key, "aside": answer["saved"]}
    for status, change in ((409, {"writer": "x"}), (200, {"aside": "of another tab"})):
        answer = viewer.ask("DELETE", f"api/scans/{SCAN}/unsaved", json={**told, **change})
        assert answer.status_code == status
        assert viewer.facts(SCAN)["unsaved"]
    assert viewer.ask("DELETE", f"api/scans/{SCAN}/unsaved", json=told).status_code == 200
    assert viewer.facts(SCAN)["unsaved"] is None
    assert not (folder / SCAN / ".unsaved").exists()


@pytest.mark.parametrize("place", ["corrected", "unsaved"])
def test_a_tab_that_slept_does_not_replace_what_another_has_kept_aside(viewer, folder, place) -> None:
    """It has its place again since the other was closed, whose work was never saved."""
    asleep = viewer.enter(SCAN)
    viewer.session.writers.clock = lambda: time.monotonic() + 100
    viewer.enter(SCAN)
    masks = viewer.masks(SCAN)
    masks["stomach"][0, 0, 0] = 1
    assert viewer.save(SCAN, masks.values(), "unsaved").json()["kept"] == []
    viewer.ask("POST", f"api/scans/{SCAN}/writer/release", json={"writer": viewer.key})

    viewer.aside = ""
    masks["stomach"][0, 0, 0] = 0
    answer = viewer.save(SCAN, masks.values(), place, writer=asleep)

    assert answer.status_code == 200
    kept = folder / SCAN / "unsaved-1"
    assert answer.json()["kept"] == viewer.facts(SCAN)["kept"] == [str(kept)]
    assert volume_files.read(kept / "stomach.nii.gz").voxels[-1, -1, -1]


def test_a_mask_that_was_edited_in_place_meanwhile_is_named_beside_the_work_aside(viewer, folder) -> None:
    """By another program while the page is open: the page still keeps its work, and the next visit has it."""
    viewer.enter(SCAN)
    masks = viewer.masks(SCAN)
    bases = {one["name"]: one["base"] for one in viewer.facts(SCAN)["classes"]}
    masks["large_bowel"][0, 0, 0] = 1
    path = folder / SCAN / "stomach.nii.gz"
    volume = volume_files.read(path)
    write_volume(volume.with_voxels(volume.voxels ^ 1), path)

    assert viewer.save(SCAN, masks.values(), base=bases).status_code == 409
    assert viewer.save(SCAN, masks.values(), "unsaved", base=bases).json()["base"] == bases

    assert viewer.facts(SCAN)["unsaved"]["outdated"] == ["stomach"]
    assert viewer.voxels(SCAN, "unsaved/large_bowel")[0, 0, 0]
    assert viewer.save(SCAN, masks.values(), "unsaved", base={}).status_code == 409

    assert viewer.save(SCAN, masks.values()).status_code == 200
    assert viewer.save(SCAN, masks.values(), "unsaved").status_code == 200
    assert viewer.facts(SCAN)["unsaved"]["outdated"] == []
    path = folder / SCAN / "corrected/large_bowel.nii.gz"
    write_volume(volume.with_voxels(volume.voxels ^ 1), path)
    assert viewer.facts(SCAN)["unsaved"]["outdated"] == ["large_bowel"]


def test_a_correction_that_was_edited_meanwhile_is_not_written_over(viewer, folder) -> None:
    viewer.enter(SCAN)
    masks = [*viewer.masks(SCAN).values()]
    assert viewer.save(SCAN, masks).status_code == 200
    assert viewer.save(SCAN, masks).status_code == 200
    path = folder / SCAN / "corrected/correction.json"
    path.write_text(path.read_text().replace('"reviewer": ""', '"reviewer": "by hand"'))

    assert "by hand" in path.read_text()
    assert viewer.save(SCAN, masks).status_code == 409
    assert "by hand" in path.read_text()
    assert viewer.save(SCAN, masks, "unsaved").status_code == 200
    viewer.ask("POST", f"api/scans/{SCAN}/writer/release", json={"writer": viewer.key})
    viewer.enter(SCAN)
    assert viewer.save(SCAN, masks).status_code == 200


def test_a_save_is_signed_by_whom_reviewer_names_and_by_nobody_else(folder, data) -> None:
    for name in ("A. Who", ""):
        viewer = viewed.open_viewer(folder, data=data, reviewer=name)
        viewer.enter(SCAN)
        told = viewer.facts(SCAN)
        assert told["reviewer"] == name
        assert viewer.save(SCAN, viewer.masks(SCAN).values(), reviewer=told["reviewer"]).status_code == 200
        assert read_correction(folder / SCAN).reviewer == name
        viewer.ask("POST", f"api/scans/{SCAN}/writer/release", json={"writer": viewer.key})
        assert viewer.facts(SCAN)["earlier_reviewer"] == name


def test_a_scan_that_was_made_anew_has_its_own_image(tmp_path) -> None:
    image = np.zeros((6, 5, 4), np.int16)
    masks = {"liver": image == 0}
    viewed.prediction_of(tmp_path, "a", masks, np.eye(4), image)
    viewer = viewed.open_viewer(tmp_path)
    assert not viewer.voxels("a", "image").any()

    viewed.prediction_of(tmp_path, "a", masks, np.eye(4), image + 7)
    assert (viewer.voxels("a", "image") == 7).all()


def test_a_scan_with_a_class_that_nobody_had_at_the_start_is_shown(tmp_path) -> None:
    mask = np.ones((6, 5, 4), bool)
    viewed.prediction_of(tmp_path, "a", {"liver": mask}, np.eye(4), mask.astype(np.int16))
    viewer = viewed.open_viewer(tmp_path)
    viewed.prediction_of(tmp_path, "a", {"spleen": mask, "liver": mask}, np.eye(4), mask.astype(np.int16))

    colours = {one["name"]: one["colour"] for one in viewer.facts("a")["classes"]}
    assert colours == {"spleen": "#56b4e9", "liver": "#e69f00"}
    assert viewer.ask("GET", "pictures/a/0.png").status_code == 200


def test_a_scan_that_failed_at_the_start_and_is_done_now_is_shown(folder, data) -> None:
    predicted.record(folder, "case3_day0", status="failed", reason="too dark", classes=tiny.CLASSES)
    viewer = viewed.open_viewer(folder, data=data)
    viewed.predictions(folder, Dataset.load(data), "case3_day0")

    told = viewer.facts("case3_day0")
    assert (told["previous_scan"], told["next_scan"]) == ("case2_day0", "")
    assert viewer.facts("case2_day0")["next_scan"] == ""


def test_an_organ_without_a_confidence_has_no_volume_in_the_list(tmp_path) -> None:
    viewed.prediction_of(tmp_path, "a", {"liver": np.ones((6, 5, 4), bool)}, np.eye(4))

    organ = viewed.open_viewer(tmp_path).json("api/scans")["scans"][0]["organs"][0]
    assert (organ["volume_ml"], organ["confidence"]) == (None, None)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_image_with_voxels_that_are_no_numbers_is_shown(tmp_path, value) -> None:
    image = np.linspace(10, 50, 120, dtype=np.float32).reshape(6, 5, 4)
    image[0] = value
    viewed.prediction_of(tmp_path, "a", {"liver": image > 20}, np.eye(4), image)
    viewer = viewed.open_viewer(tmp_path)

    low, high = viewer.facts("a")["window"]
    assert 10 <= low < high <= 50
    shown = viewer.voxels("a", "image")
    assert shown.min() >= 10
    assert shown.max() <= 50
    assert viewer.ask("GET", "pictures/a/0.png").status_code == 200


def test_what_is_wrong_with_a_save_is_told_and_nothing_is_written(viewer, folder) -> None:
    masks = [*viewer.masks(SCAN).values()]
    two = [np.full_like(mask, 2) for mask in masks]
    assert viewer.save(SCAN, masks).status_code == 409  # no writer
    viewer.enter(SCAN)
    before = files(folder)
    put = f"api/scans/{SCAN}/corrected"

    answers = {
        "short": viewer.save(SCAN, masks[:1]),
        "long": viewer.save(SCAN, [*masks, masks[0]]),
        "twos": viewer.save(SCAN, two),
        "stale": viewer.save(SCAN, masks, base=dict.fromkeys(tiny.CLASSES, "0" * 64)),
        "fewer bases": viewer.save(SCAN, masks, base={}),
        "another key": viewer.save(SCAN, masks, writer="guessed"),
        "seconds": viewer.save(SCAN, masks, seconds=-1),
        "unknown": viewer.save(SCAN, masks, colour="red"),
        "reviewer": viewer.save(SCAN, masks, reviewer="x" * 201),
        "no json": viewer.ask("PUT", put, content=b"nonsense\n" + bytes(6400)),
        "no line": viewer.ask("PUT", put, content=bytes(6400)),
        "nothing": viewer.ask("PUT", put),
        "nan": viewer.save(SCAN, masks, seconds=float("nan")),
        "huge": viewer.ask("PUT", put, content=b"{}\n", headers={"content-length": str(2 << 30)}),
    }  # fmt: skip

    codes = {name: answer.status_code for name, answer in answers.items()}
    conflicts = dict.fromkeys(("stale", "fewer bases", "another key"), 409)
    assert codes == {**dict.fromkeys(answers, 400), **conflicts, "huge": 413}
    assert all(answer.json()["error"] for answer in answers.values())
    assert files(folder) == before
    assert viewer.save(SCAN, masks).status_code == 200


def test_a_second_tab_may_look_and_not_write(viewer, folder, data) -> None:
    viewer.enter(SCAN)
    path = f"api/scans/{SCAN}/writer"

    assert viewer.ask("POST", path, content=b"{}").status_code == 409
    other = viewed.open_viewer(folder, data=data)
    answer = other.ask("POST", path, content=b"{}")
    assert (answer.status_code, "another volseg" in answer.json()["error"]) == (409, True)
    assert other.facts(SCAN)["name"] == SCAN
    assert viewer.ask("PUT", path, json={"writer": viewer.key}).status_code == 200
    assert (
        viewer.ask("POST", f"{path}/release", content=json.dumps({"writer": viewer.key})).status_code == 200
    )
    other.enter(SCAN)


@pytest.mark.parametrize("method", ["POST writer", "PUT corrected", "PUT unsaved", "DELETE unsaved"])
def test_read_only_changes_nothing(folder, data, method) -> None:
    before = files(folder)
    viewer = viewed.open_viewer(folder, data=data, read_only="as was asked")
    verb, path = method.split()
    masks = [*viewer.masks(SCAN).values()]
    told = viewed.body({"writer": "", "base": {}}, masks) if verb == "PUT" else b'{"writer": ""}'

    answer = viewer.ask(verb, f"api/scans/{SCAN}/{path}", content=told)

    assert (answer.status_code, answer.json()) == (403, {"error": "as was asked"})
    assert (viewer.facts(SCAN)["read_only"], viewer.facts(SCAN)["read_only_reason"]) == (True, "as was asked")
    assert viewer.json("api/scans")["read_only"]
    assert files(folder) == before


def test_operations_go_there_and_back_on_the_display_grid(viewer) -> None:
    mask = np.zeros((20, 16, 10), np.uint8)
    mask[3:6, 2:5, 1] = mask[3:6, 2:5, 4] = 1

    answer = viewer.edit(SCAN, "fill-between", mask)

    filled = np.frombuffer(answer.content, np.uint8).reshape(mask.shape, order="F")
    expected = mask.copy()
    expected[3:6, 2:5, 1:5] = 1
    assert answer.headers["content-type"] == "application/octet-stream"
    assert np.array_equal(filled, expected)


def test_operations_that_can_not_be_done_are_told(viewer) -> None:
    mask = np.zeros((20, 16, 10), np.uint8)

    assert viewer.edit(SCAN, "sharpen", mask).status_code == 404
    assert viewer.edit(SCAN, "fill-holes", mask, **{"class": "liver"}).status_code == 400
    assert viewer.edit(SCAN, "fill-holes", mask[1:]).status_code == 400
    assert viewer.edit(SCAN, "fill-holes", np.zeros((21, 16, 10))).status_code == 413
    assert viewer.edit(SCAN, "fill-holes", mask + 2).status_code == 400
    answer = viewer.edit(SCAN, "threshold", mask, threshold=0.5, first=0, last=1)
    assert (answer.status_code, "--save-probabilities" in answer.json()["error"]) == (404, True)


def test_a_slice_comes_as_a_picture_with_the_right_side_on_the_left(tmp_path) -> None:
    """A marker on the patient's right, at the front; outlines only where masks are wanted."""
    image = np.zeros((20, 30, 4), np.int16)
    image[2:6, 3:6, 1] = 1000  # this stack runs to the left and the back
    mask = image > 0
    viewed.prediction_of(tmp_path, "a", {"liver": mask}, stack_affine((1.0, 1.0), 3.0), image)
    viewer = viewed.open_viewer(tmp_path)

    answer = viewer.ask("GET", "pictures/a/2.png?masks=0")

    picture = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR)[30:, :690]
    picture[490:520, :30] = 0  # the letter of the side
    rows, columns = np.nonzero(picture.max(axis=2) > 128)
    height, width = 720 * 30 // 20, 720
    assert columns.mean() / width == pytest.approx(4 / 20, abs=0.05)
    assert (rows.mean() + 30) / height == pytest.approx(4.5 / 30, abs=0.05)
    assert answer.headers["content-type"] == "image/png"
    shown = cv2.imdecode(
        np.frombuffer(viewer.ask("GET", "pictures/a/2.png").content, np.uint8), cv2.IMREAD_COLOR
    )
    assert (shown == (0, 159, 230)).all(axis=2).any()
    assert viewer.ask("GET", "pictures/a/4.png").status_code == 404
    assert viewer.ask("GET", "pictures/a/-1.png").status_code == 404


def test_a_single_scan_that_was_asked_for_opens_at_once(folder, data) -> None:
    answer = viewed.open_viewer(folder, data=data, scan=SCAN).ask("GET", "")

    assert (answer.status_code, answer.headers["location"]) == (307, f"scans/{SCAN}/")


def test_names_with_signs_and_blanks_are_reached(tmp_path) -> None:
    name, organ = "Ünal 1% a#b", "Gros. côlon+x"
    viewed.prediction_of(tmp_path, name, {organ: np.ones((3, 4, 5), bool)}, np.eye(4))
    viewer = viewed.open_viewer(tmp_path, scan=name)
    place = viewer.ask("GET", "").headers["location"]

    from urllib.parse import quote

    assert viewer.ask("GET", f"api/{place.rstrip('/')}").json()["name"] == name
    assert viewer.voxels(quote(name, safe=""), f"mask/{quote(organ, safe='')}").all()


def test_damaged_files_are_told_and_other_scans_go_on(viewer, folder) -> None:
    (folder / SCAN / "stomach.nii.gz").write_bytes(b"no volume")
    (folder / "case1_day0/stomach.nii.gz").unlink()
    (folder / "case2_day0/corrected").mkdir()
    (folder / "case2_day0/corrected/correction.json").write_text("{")

    assert viewer.ask("GET", f"files/{SCAN}/mask/stomach.nii").status_code == 400
    assert viewer.ask("GET", f"files/{SCAN}/mask/large_bowel.nii").status_code == 200
    assert viewer.ask("GET", "files/case1_day0/mask/stomach.nii").status_code == 404
    answer = viewer.ask("GET", "api/scans/case2_day0")
    assert (answer.status_code, "correction.json" in answer.json()["error"]) == (400, True)
    assert "correction.json" in viewer.json("api/scans")["scans"][2]["reason"]


def test_a_drive_that_has_gone_is_told_by_its_file(viewer, monkeypatch) -> None:
    def gone(*_: object) -> None:
        raise OSError(5, "Input/output error", "/mnt/stomach.nii.gz")

    monkeypatch.setattr("volseg.viewer.scan.file_sha256", gone)
    answer = viewer.ask("GET", f"api/scans/{SCAN}")

    assert (answer.status_code, answer.json()["error"]) == (503, "/mnt/stomach.nii.gz: Input/output error")


def test_a_full_disk_is_told_to_a_page_and_not_to_a_terminal(viewer, monkeypatch) -> None:
    viewer.enter(SCAN)
    masks = [*viewer.masks(SCAN).values()]

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("volseg.system.files.sync_file", full)
    answer = viewer.save(SCAN, masks)

    told = answer.json()["error"]
    assert (answer.status_code, "the disk is full; nothing was saved" in told) == (507, True)
    assert "run the command" not in told


def test_what_can_not_be_kept_in_corrected_is_named(viewer, folder, monkeypatch) -> None:
    viewer.enter(SCAN)
    masks = [*viewer.masks(SCAN).values()]
    assert viewer.save(SCAN, masks).status_code == 200
    (folder / SCAN / "corrected/notes.txt").write_text("mine")

    def denied(*_: object, **__: object) -> None:
        raise OSError(errno.EACCES, "Permission denied")

    for function in ("os.link", "shutil.copy2"):
        monkeypatch.setattr(function, denied)
    answer = viewer.save(SCAN, masks)

    assert (answer.status_code, "corrected/notes.txt" in answer.json()["error"]) == (507, True)
    assert (folder / SCAN / "corrected/notes.txt").read_text() == "mine"


@pytest.mark.skipif(not hasattr(os, "statvfs"), reason="a system that does not tell how drives are mounted")
@pytest.mark.parametrize(("flag", "told"), [("ST_RDONLY", "a drive that is mounted read-only"),
                                            ("", "may not be written by this user")])  # fmt: skip
def test_why_a_folder_can_not_be_written_is_told(viewer, monkeypatch, flag, told) -> None:
    class Drive:
        f_flag = getattr(os, flag) if flag else 0

    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr(os, "statvfs", lambda _: Drive)

    assert told in viewer.facts(SCAN)["read_only_reason"]


def test_a_corrected_mask_that_is_missing_or_on_another_grid_is_told_what_helps(viewer, folder) -> None:
    """Inference would keep the scan."""
    viewer.enter(SCAN)
    viewer.save(SCAN, viewer.masks(SCAN).values())
    (folder / SCAN / "corrected/stomach.nii.gz").unlink()
    other = Volume(np.zeros((3, 4, 5), np.uint8), np.eye(4))
    write_volume(other, folder / SCAN / "corrected/large_bowel.nii.gz")

    for name in tiny.CLASSES:
        told = viewer.ask("GET", f"files/{SCAN}/mask/{name}.nii").json()["error"]
        assert "move corrected/ away" in told, name
        assert "volseg infer" not in told, name


def test_a_bug_is_told_without_its_inside(viewer, monkeypatch) -> None:
    def broken() -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(viewer.session, "list_facts", broken)
    viewer.client._transport.raise_server_exceptions = False
    answer = viewer.ask("GET", "api/scans")

    assert (answer.status_code, "secret" in answer.text) == (500, False)
