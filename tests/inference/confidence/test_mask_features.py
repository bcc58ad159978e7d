import numpy as np
import pytest

from volseg.inference.confidence.mask_features import MaskFeatures, compute_features

SPACING = (1.5, 2.0, 3.0)


def look(mask: np.ndarray, image: np.ndarray | None = None) -> MaskFeatures:
    return compute_features(mask, np.zeros(mask.shape) if image is None else image, SPACING, (100.0, 300.0))


def box(*sides: slice) -> np.ndarray:
    mask = np.zeros((20, 18, 12), bool)
    mask[sides] = True
    return mask


def test_a_box_by_hand() -> None:
    mask = box(slice(4, 8), slice(5, 10), slice(2, 4))
    image = np.where(mask, 250, 0)

    found = look(mask, image)

    assert found.volume_ml == pytest.approx(4 * 5 * 2 * 9 / 1000)
    x, y, z = 4 * 1.5, 5 * 2.0, 2 * 3.0
    assert found.border_mm2 == pytest.approx(2 * (x * y + y * z + x * z))
    assert (found.parts, found.cut) == (1, ())
    assert found.intensity == pytest.approx(0.75)


def test_parts_count_but_specks_do_not() -> None:
    mask = box(slice(1, 9), slice(1, 9), slice(1, 9)) | box(slice(12, 16), slice(2, 6), slice(2, 6))
    mask[18, 16, 10] = True

    assert look(mask).parts == 2


@pytest.mark.parametrize(
    ("sides", "cut"),
    [
        ((slice(4, 8), slice(4, 8), slice(0, 3)), ("the first slice",)),
        ((slice(4, 8), slice(4, 8), slice(9, 12)), ("the last slice",)),
        ((slice(0, 8), slice(4, 8), slice(3, 5)), ("a side of the slices",)),
        ((slice(4, 8), slice(14, 18), slice(3, 5)), ("a side of the slices",)),
        ((slice(4, 8), slice(4, 8), slice(0, 12)), ("the first slice", "the last slice")),
    ],
)
def test_an_organ_at_the_end_of_the_scan_may_be_cut(sides, cut) -> None:
    assert look(box(*sides)).cut == cut


def test_an_empty_mask_has_no_intensity() -> None:
    assert look(box(slice(0))) == MaskFeatures(0.0, 0.0, 0, None, ())
