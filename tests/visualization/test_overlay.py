from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given

from tests.strategies import affines
from volseg.data.volume import Volume, stack_affine
from volseg.visualization import overlay
from volseg.visualization.overlay import BAR, COLOURS, PANEL, SLICES

IMAGE = Volume(np.full((40, 30, 12), 100, np.uint16), stack_affine((1.5, 1.5), 3.0))


@pytest.fixture(autouse=True)
def full_size(monkeypatch) -> None:
    """Pictures as a user has them."""
    monkeypatch.setattr(overlay, "PANEL", PANEL)


def boxes(*corners: tuple[int, int]) -> np.ndarray:
    masks = np.zeros((len(corners), *IMAGE.voxels.shape), bool)
    for mask, (x, y) in zip(masks, corners, strict=True):
        mask[x : x + 8, y : y + 8, 2:10] = True
    return masks


def place_of(picture: np.ndarray, colour: tuple[int, int, int]) -> tuple[float, float]:
    """The mean (row, column) of a colour in the first panel."""
    rows, columns = np.nonzero((picture[:, :PANEL] == colour).all(axis=2))
    return float(rows.mean()), float(columns.mean())


def test_columns_run_to_the_right_and_rows_down() -> None:
    """The raw layout's columns run to the patient's left, which a reader sees on the right."""
    picture = overlay.draw_overlay(IMAGE, boxes((30, 2), (2, 20)))

    first, second = place_of(picture, COLOURS[0]), place_of(picture, COLOURS[1])

    assert first[1] > PANEL / 2 > second[1]
    assert first[0] < second[0]


@given(affines())
def test_the_picture_does_not_depend_on_how_the_volume_is_stored(affine) -> None:
    """A mark at the patient's left front appears at the top right in every orientation."""
    shape = np.array([24, 24, 24])
    centre = affine[:3, :3] @ ((shape - 1) / 2)
    places = np.indices(shape).reshape(3, -1)
    world = (affine[:3, :3] @ places) - centre[:, None]
    reach = np.abs(world).max(axis=1)
    mark = ((world[0] < -0.2 * reach[0]) & (world[1] > 0.2 * reach[1])).reshape(shape)

    picture = overlay.draw_overlay(Volume(np.ones(shape), affine), mark[None])
    row, column = place_of(picture, COLOURS[0])

    assert column > PANEL / 2
    assert row < picture.shape[0] / 2


def test_both_sides_of_the_patient_are_named() -> None:
    """By bright letters on a dark slice, half way down: the right one on the left."""
    picture = overlay.draw_slice(np.zeros((40, 30)), np.zeros((0, 40, 30), bool), "")
    middle = picture[picture.shape[0] // 2 - 12 : picture.shape[0] // 2 + 2]
    sides = {"R": middle[:, 8:20], "L": middle[:, -18:-6]}

    for letter, side in sides.items():
        alone = np.zeros((40, 40, 3), np.uint8)
        cv2.putText(alone, letter, (0, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
        assert np.array_equal(side, alone[:14, :12]), letter


def test_truth_stands_above_the_prediction_with_a_legend_below() -> None:
    picture = overlay.draw_overlay(
        IMAGE, boxes((2, 2)), labels=boxes((28, 2)), classes=["stomach"], numbers=range(27, 39)
    )
    height = PANEL * 30 // 40

    assert picture.shape == (2 * height + BAR, SLICES * PANEL, 3)
    assert place_of(picture[:height], COLOURS[0])[1] > PANEL / 2
    assert place_of(picture[height : 2 * height], COLOURS[0])[1] < PANEL / 2


def test_a_scan_without_masks_is_shown_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "o.png"

    overlay.write(path, overlay.draw_overlay(IMAGE, boxes((0, 0)) & False))

    assert cv2.imread(str(path)).shape[1] == SLICES * PANEL
