import base64
import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from volseg.data.preprocessing.intensity_scaling import Percentiles
from volseg.data.volume import Volume, stack_affine
from volseg.inference.scan_images import ScanImages
from volseg.report.page.slice_images import BESIDE, LARGEST, encode_scan

SHAPE = (24, 20, 16)
AFFINE = stack_affine((1.5, 1.5), 3.0)


def sides(**changes) -> ScanImages:
    """A body in the middle of air, an organ on slices 5 to 7 (from 0) and a prediction of 5 to 8."""
    image = np.zeros(SHAPE, np.uint16)
    image[4:20, 4:16] = 400
    image[12:16, 6:10] = 900  # the organ's place: at the patient's left, in front
    truth, found = (np.zeros((2, *SHAPE), bool) for _ in range(2))
    truth[0, 12:16, 6:10, 5:8] = True
    found[0, 12:16, 6:10, 5:9] = True
    found[1, 14:18, 6:10, 7] = True
    place = Volume(image, AFFINE)
    values = {"prediction": found, "labels": truth, "geometry": place, "image": place, **changes}
    return ScanImages(**values)


def drawn(found: ScanImages) -> dict:
    return json.loads(encode_scan(found, Percentiles()))


def pixels(told: dict, z: int) -> np.ndarray:
    """A slice as it is shown, (rows, columns)."""
    data = np.frombuffer(base64.b64decode(told["images"][z]), np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)


def test_slices_with_an_organ_on_either_side_are_shown_and_a_few_beside() -> None:
    told = drawn(sides())

    assert told["numbers"] == list(range(5 - BESIDE, 8 + BESIDE + 1))
    lines = told["lines"]
    assert [bool(one) for one in lines["truth"][0]] == [5 <= n <= 7 for n in told["numbers"]]
    assert [bool(one) for one in lines["prediction"][0]] == [5 <= n <= 8 for n in told["numbers"]]
    assert not any(lines["truth"][1])


def test_slices_have_their_source_numbers() -> None:
    assert drawn(sides(numbers=range(27, 43)))["numbers"][0] == 27 + 5 - BESIDE


def test_slices_to_check_are_shown_even_where_there_is_no_organ() -> None:
    told = drawn(sides(check=[(6, 7)], must_show=[(13, 14)]))

    assert told["check"] == [[6, 7]]
    assert told["numbers"] == list(range(5 - BESIDE, SHAPE[2]))


@pytest.mark.parametrize("to_the_head", [False, True])
def test_slices_to_check_are_those_of_the_file(to_the_head) -> None:
    """The file's slice 8, from 0, is the organ's last: it is shown with an outline, the next without."""
    found, last = sides(check=[(8, 8)]), 8
    if to_the_head:
        affine = AFFINE.copy()
        affine[:3, 3] += AFFINE[:3, 2] * (SHAPE[2] - 1)
        affine[:3, 2] *= -1
        image, last = Volume(found.image.voxels[..., ::-1], affine), SHAPE[2] - 1 - 8
        masks = {"prediction": found.prediction[..., ::-1], "labels": found.labels[..., ::-1]}
        found = replace(found, geometry=image, image=image, **masks, check=[(last, last)])

    told = drawn(found)

    z = told["numbers"].index(told["check"][0][0])
    assert found.prediction[0, ..., last].any()
    assert [bool(one) for one in told["lines"]["prediction"][0][z : z + 2]] == [True, False]


def test_slices_are_the_same_in_a_file_that_stores_its_axes_in_another_order() -> None:
    found = sides(check=[(6, 7)])
    image = Volume(found.image.voxels.transpose(2, 1, 0), AFFINE[:, [2, 1, 0, 3]])
    masks = {"prediction": found.prediction, "labels": found.labels}
    turned = {name: mask.transpose(0, 3, 2, 1) for name, mask in masks.items()}

    told = drawn(replace(found, **turned, image=image, geometry=image))

    for name in ("check", "numbers", "lines"):
        assert told[name] == drawn(found)[name]


def test_the_slice_shown_first_is_where_most_differs_between_the_labels() -> None:
    told = drawn(sides())

    assert [told["numbers"][z] for z in told["labelled"]] == [5, 7]
    assert told["numbers"][told["first"]] == 7  # 16 voxels; as many differ on 8, beyond the labels
    assert told["most_cm2"] == pytest.approx(16 * 1.5 * 1.5 / 100, abs=0.06)


def test_the_patients_left_is_on_the_right_and_the_front_on_top() -> None:
    told = drawn(sides())
    shown = pixels(told, told["first"])

    rows, columns = np.nonzero(shown > 200)
    high, wide = shown.shape
    assert columns.mean() > wide / 2
    assert rows.mean() < high / 2


def stored_otherwise(found: ScanImages) -> ScanImages:
    """The same scan with its axes in another order and two of them run through from the other end."""

    def turned(voxels):
        return voxels.transpose(2, 0, 1)[::-1, :, ::-1]

    matrix = np.eye(4)
    matrix[:, :3] = AFFINE[:, (2, 0, 1)]
    matrix[:3, 3] = AFFINE[:3, 2] * (SHAPE[2] - 1) + AFFINE[:3, 1] * (SHAPE[1] - 1)
    matrix[:3, 0] *= -1
    matrix[:3, 2] *= -1
    image = Volume(turned(found.image.voxels), matrix)
    masks = (np.stack([turned(one) for one in side]) for side in (found.prediction, found.labels))
    prediction, truth = masks
    return ScanImages(prediction, truth, image, image)


def test_however_a_scan_is_stored_its_picture_is_the_same_but_for_the_slices_own_numbers() -> None:
    usual, other = drawn(sides()), drawn(stored_otherwise(sides()))

    assert other.pop("numbers") == [SHAPE[2] - 1 - n for n in usual.pop("numbers")]
    assert other == usual


def test_what_lies_outside_the_body_is_shown_too() -> None:
    found = np.zeros((2, *SHAPE), bool)
    found[0, 0, 19, 6] = True  # in the air, in a corner

    told = drawn(sides(prediction=found))

    assert told["lines"]["prediction"][0][told["numbers"].index(6)].startswith("M")
    assert (told["mm"][0], told["mm"][1]) > (20 * 1.5, 16 * 1.5)


def test_large_slices_are_made_smaller_and_keep_their_millimetres() -> None:
    shape = (2 * LARGEST, LARGEST, 3)
    image = Volume(np.full(shape, 100, np.uint16), AFFINE)
    mask = np.ones((1, *shape), bool)

    told = drawn(ScanImages(mask, mask, image, image))

    assert pixels(told, 0).shape == (LARGEST // 2, LARGEST)
    assert told["mm"] == [shape[0] * 1.5, shape[1] * 1.5]
    assert told["scale"] == [3 / 4, 3 / 4]


def test_without_truth_and_image_there_are_the_predictions_outlines() -> None:
    told = drawn(sides(labels=None, image=None))

    assert (list(told["lines"]), told["images"]) == (["prediction"], [])
    assert told["numbers"][told["first"]] == 7


def test_a_scan_with_nothing_in_it_is_shown_whole() -> None:
    empty = np.zeros((2, *SHAPE), bool)

    told = drawn(sides(prediction=empty, labels=empty))

    assert (told["numbers"], told["most_cm2"]) == (list(range(SHAPE[2])), 0.0)
