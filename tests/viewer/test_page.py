"""What is seen, drawn and saved in a real browser: the voxels are those that a person meant."""

import json
from collections.abc import Iterator
from pathlib import Path

import nibabel
import numpy as np
import pytest

from tests import viewed
from tests.view_page import ViewPage, brushed, saved_mask, turned
from volseg.data.volume import stack_affine

pytest.importorskip("uvicorn", reason="the extra `view` is not installed")
CLASSES = ("large_bowel", "stomach")
MR = "case1_day0"
GRIDS = {MR: ((360, 310, 12), stack_affine((1.5, 1.5), 3.0)), "case2_day0": ((44, 36, 22), viewed.OBLIQUE)}
"""A scan of slices that are wider than tall, and one whose axes are oblique to the patient's."""
SIDES = (
    "Object.fromEntries([...document.querySelectorAll('[data-plane={}] abbr')]"
    ".map((one) => [one.className, one.textContent]))"
)
MARKER = {MR: (60, 100, 4), "case2_day0": (31, 25, 14)}
"""The middle of what is bright, on the patient's right in both scans, by the file's indices."""


def boxes(shape) -> dict[str, np.ndarray]:
    """Two classes that overlap in some voxels."""
    x, y, z = (size // 2 for size in shape)
    masks = {name: np.zeros(shape, np.uint8) for name in CLASSES}
    masks["large_bowel"][x - 6 : x + 3, y - 5 : y + 4, z - 3 : z + 3] = 1
    masks["stomach"][x : x + 9, y : y + 8, z - 2 : z + 2] = 1
    return masks


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("page") / "predictions"
    out.mkdir()
    rng = np.random.default_rng(0)
    for scan, (shape, affine) in GRIDS.items():
        image = rng.integers(100, 300, shape).astype(np.uint16)
        image[tuple(slice(at - 2, at + 3) for at in MARKER[scan])] = 1000
        viewed.prediction_of(out, scan, boxes(shape), affine, image)
        record = out / scan / "record.json"
        values = json.loads(record.read_text())
        numbers = [[2, 3], [6, 6]]
        told = {"dice": 0.7, "calibrated": True, "volume_ml": 1.0, "slices": numbers}
        record.write_text(json.dumps({**values, "confidence": {"stomach": told}, "check": []}))
    return out


@pytest.fixture(scope="module")
def server(folder) -> Iterator[viewed.Server]:
    with viewed.Server("--predictions", str(folder)) as started:
        yield started


@pytest.fixture(params=GRIDS)
def page(request, tab, server) -> Iterator[ViewPage]:
    """A page of each scan, whose right to write is given back."""
    opened = ViewPage(tab, server.address, request.param)
    yield opened
    opened.js("volseg.session.leave(); volseg.model.savedMark = volseg.model.history.mark; 0")


@pytest.fixture
def mr(tab, server) -> Iterator[ViewPage]:
    opened = ViewPage(tab, server.address, MR)
    yield opened
    opened.js("volseg.session.leave(); volseg.model.savedMark = volseg.model.history.mark; 0")


def facts(page: ViewPage) -> tuple[tuple[int, ...], np.ndarray, np.ndarray]:
    shape, affine = GRIDS[page.scan]
    return shape, affine, np.array(page.js("volseg.model.facts.spacing_mm"))


def before(page: ViewPage, folder: Path, name: str) -> np.ndarray:
    """The mask that counts now, as it lies on the disk."""
    place = folder / page.scan / "corrected" / f"{name}.nii.gz"
    return (
        saved_mask(folder, page.scan, name)
        if place.is_file()
        else boxes(GRIDS[page.scan][0])[name].astype(bool)
    )


def test_a_click_on_what_is_seen_marks_its_voxel_in_the_file(page, folder) -> None:
    """The marker is found on the screen, so no mapping of the page is taken on trust."""
    shape, affine, _ = facts(page)
    marked = np.zeros(shape, bool)
    marked[MARKER[page.scan]] = True
    voxel = np.argwhere(turned(marked, affine))[0]
    page.go_to(2, 2, voxel[2])
    page.press("h")
    page.js(
        "volseg.model.window = [0, 1000]; volseg.model.changed('window');"
        "document.getElementById('labels').hidden = true; 0"
    )
    page.settle()
    page.settle()
    left, top, width, height = page.js(
        "(() => { const box = document.getElementById('overlay').getBoundingClientRect();"
        " const pane = volseg.planes.panes[0];"
        " return [box.left + pane.left, box.top + pane.top, pane.width, pane.height].map(Math.round); })()"
    )
    bright = np.argwhere(page.screen()[top : top + height, left : left + width].min(axis=2) > 200)
    y, x = bright.mean(axis=0) + 0.5  # the middle of a pixel

    assert x < width / 2, "the patient's right is not on the screen's left"
    assert len(bright) >= 25
    told = page.pixel(*(voxel + 0.5))
    assert np.hypot(left + x - told[0], top + y - told[1]) < 1, (
        "what is drawn lies beside where the page thinks"
    )
    earlier = before(page, folder, "stomach")
    page.press("h")
    page.press("2")
    page.press("b")
    page.js("volseg.model.diameter = 1; 0")
    page.tab.drag((left + x, top + y))
    page.settle()
    page.save()
    assert page.state() == "saved"
    assert np.argwhere(saved_mask(folder, page.scan, "stomach") & ~earlier).tolist() == [
        list(MARKER[page.scan])
    ]
    assert (saved_mask(folder, page.scan, "large_bowel") == before(page, folder, "large_bowel")).all()


def test_sides_are_named_where_they_are(page) -> None:
    axial = page.js(SIDES.format("axial"))
    coronal = page.js(SIDES.format("coronal"))

    assert axial == {"left": "R", "right": "L", "top": "A", "bottom": "P"}
    assert coronal == {"left": "R", "right": "L", "top": "S", "bottom": "I"}


def test_slices_are_counted_in_one_way_and_places_told_in_mm(page) -> None:
    shape, affine, _ = facts(page)
    grid = nibabel.as_closest_canonical(nibabel.Nifti1Image(np.zeros(shape, np.uint8), affine))
    voxel = [size // 3 for size in grid.shape]
    page.js("volseg.overlay.pointer = null; 0")
    page.go_to(*voxel)
    mm = grid.affine[:3] @ [*voxel, 1]
    told = [f"{sides[int(at > 0)]} {abs(at):.1f}" for sides, at in zip(("LR", "PA", "IS"), mm, strict=True)]
    number = page.js("volseg.model.facts.slice_numbers")[voxel[2]]

    assert page.text("[data-plane=axial] .plane") == f"Axial · slice {number}"
    assert page.text("[data-plane=coronal] .plane") == f"Coronal · {told[1]} mm"
    assert page.text("#readout").startswith(f"voxel {', '.join(map(str, voxel))}  ·  {' '.join(told)} mm")
    assert page.text("#organs li:last-child .trust") == "0.70"
    assert page.text("#organs-told") == "expected Dice"


@pytest.mark.parametrize("ball", [False, True], ids=["disc", "ball"])
def test_a_stroke_by_the_mouse_is_saved_as_the_voxels_within_its_radius(page, folder, ball) -> None:
    shape, affine, spacing = facts(page)
    size = turned(np.zeros(shape), affine).shape
    earlier = before(page, folder, "large_bowel")
    page.go_to(*(at // 2 for at in size))
    page.press("1")
    page.press("b")
    if ball:
        page.press("d")
    page.js("volseg.model.diameter = 9; 0")
    x, y, z = (0.5 * np.array(size)).tolist()
    places = page.stroke(
        (x - 9, y + 7, z), (x - 2, y + 9, z), (x - 4, y + 2, z)
    )  # bent, and like none of its mirror images
    page.save()

    drawn = brushed(size, spacing, places, radius=4.5, ball=ball)
    expected = turned(earlier, affine).astype(bool) | drawn
    assert drawn.any(axis=(0, 1)).sum() == (1 if not ball else 2 * int(4.5 / spacing[2]) + 1)
    found = turned(saved_mask(folder, page.scan, "large_bowel"), affine).astype(bool)
    assert np.argwhere(found & ~expected).tolist() == []
    assert np.argwhere(expected & ~found).tolist() == []


def test_saving_without_a_stroke_leaves_every_voxel(page, folder) -> None:
    earlier = {name: before(page, folder, name) for name in CLASSES}
    page.save()

    assert page.state() == "saved"
    assert all((saved_mask(folder, page.scan, name) == earlier[name]).all() for name in CLASSES)


def test_a_voxel_of_two_organs_survives_the_erasing_of_one(mr) -> None:
    both = mr.mask(0) & mr.mask(1)
    middle = np.argwhere(both)[len(np.argwhere(both)) // 2]
    mr.go_to(*middle)
    mr.press("1")
    mr.press("x")
    mr.stroke(tuple(middle + 0.5))

    assert not mr.mask(0)[tuple(middle)]
    assert mr.mask(1)[tuple(middle)]
    mr.press("z", "ctrl")
    assert ((mr.mask(0) & mr.mask(1)) == both).all()


def test_sixty_strokes_are_undone_redone_and_undone_to_the_mask_they_began_with(mr, folder) -> None:
    original = {number: mr.mask(number) for number in range(2)}
    mr.press("b")
    x, y, z = (size // 2 for size in mr.js("volseg.model.shape"))
    mr.go_to(x, y, z)
    for number in range(60):
        mr.tab.press(str(number % 2 + 1))
        mr.stroke((x + 0.5 + number % 12 - 6, y + 0.5 + number // 12, z))
    drawn = {number: mr.mask(number) for number in range(2)}
    assert all((drawn[number] != original[number]).any() for number in range(2))

    mr.press("z", "ctrl", times=60)
    assert all((mr.mask(number) == original[number]).all() for number in range(2))
    assert mr.state() != "unsaved"
    mr.press("Z", "ctrl", "shift", times=60)
    assert all((mr.mask(number) == drawn[number]).all() for number in range(2))
    mr.press("z", "ctrl", times=60)
    earlier = {name: before(mr, folder, name) for name in CLASSES}
    mr.save()
    assert all((saved_mask(folder, MR, name) == earlier[name]).all() for name in CLASSES)


def test_nothing_is_asked_of_other_machines_and_the_browser_has_no_complaint(mr) -> None:
    mr.press("?")
    mr.press("Escape")

    assert mr.problems() == []
    assert len(mr.tab.requests) > 20


def test_the_keys_of_niivue_do_nothing(mr) -> None:
    scene = "JSON.stringify([volseg.planes.nv.scene.clipPlaneDepthAziElevs, volseg.planes.nv.opts.sliceType])"
    told = mr.js(scene)
    mr.js("document.getElementById('image').focus(); 0")
    for key in "cpv":
        mr.press(key)

    assert mr.js(scene) == told
