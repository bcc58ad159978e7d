from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import strategies, tiny
from volseg.arrays import bounding_box
from volseg.data.preprocessing.grid import InverseResampling, NetworkGrid
from volseg.data.volume import Volume, stack_affine
from volseg.data.volume_files import write_volume
from volseg.planning import label_ceiling
from volseg.planning.label_ceiling import dice_after_return, measure_ceilings, resample_mask_box

COARSENING = (1.0, 1.25, 1.6, 2.0, 2.5, 3.2)


def there_and_back(mask, affine, spacing_mm):
    grid = NetworkGrid(mask.shape, affine, spacing_mm)
    turned = grid.orient(mask)
    return dice_after_return(grid, turned, *resample_mask_box(grid, turned, bounding_box(turned)))


@given(
    seed=st.integers(0, 10**6),
    shape=strategies.shapes,
    affine=strategies.affines(),
    spacing_mm=strategies.spacings,
)
def test_a_mask_goes_to_the_grid_and_back_as_labels_and_predictions_do(seed, shape, affine, spacing_mm):
    rng = np.random.default_rng(seed)
    mask = np.zeros(shape, bool)
    mask[tuple(slice(n // 4, None) for n in shape)] = True
    mask &= rng.random(shape) < 0.8
    if not mask.any():
        return
    grid = NetworkGrid(mask.shape, affine, spacing_mm)
    turned = grid.orient(mask)

    label, box = resample_mask_box(grid, turned, bounding_box(turned))

    whole = np.zeros(grid.shape, np.uint8)
    whole[box] = label
    np.testing.assert_array_equal(whole, grid.resample_mask(mask))
    inverse = InverseResampling(grid, tuple(slice(0, n) for n in grid.shape))
    back = inverse.to_native(whole.astype(np.float32), 0, slice(0, turned.shape[2])) >= 0.5
    expected = 2 * np.count_nonzero(back & turned) / (np.count_nonzero(back) + np.count_nonzero(turned))
    assert dice_after_return(grid, turned, label, box) == pytest.approx(expected)


def test_nothing_is_lost_on_the_native_grid_and_ever_more_of_a_ball_on_coarser_ones():
    x, y, z = np.ogrid[:48, :48, :48]
    ball = (x - 23) ** 2 + (y - 24) ** 2 + (z - 25) ** 2 < 15**2

    found = [there_and_back(ball, np.eye(4), (times,) * 3) for times in COARSENING]

    assert found[0] == 1
    assert all(after <= before + 0.01 for before, after in pairwise(found))
    assert 0.9 < found[-1] < found[1] < 1


def test_a_sheet_of_one_voxel_is_lost_where_voxels_are_twice_as_thick():
    sheet = np.zeros((32, 32, 32), bool)
    sheet[:, :, 17] = True

    assert there_and_back(sheet, np.eye(4), (2.0, 2.0, 1.0)) == 1
    assert there_and_back(sheet, np.eye(4), (1.0, 1.0, 3.2)) < 0.7


def test_every_class_of_every_scan_counts_and_a_class_that_is_nowhere_has_no_ceiling(tmp_path: Path):
    dataset = tiny.write(tmp_path, cases=2, days=1)
    first = dataset.samples[0]
    nothing = Volume(np.zeros(tiny.SHAPE, np.uint8), tiny.AFFINE)
    write_volume(nothing, tmp_path / first.labels["stomach"])

    native, coarse = measure_ceilings(dataset, dataset.samples, [(1.5, 1.5, 3.0), (4.0, 4.0, 4.0)])

    assert native.classes == {"large_bowel": 1.0, "stomach": 1.0}
    assert native.scans == 2
    assert native.mean == 1
    assert coarse.mean < 1
    assert coarse.worst in tiny.CLASSES
    write_volume(nothing, tmp_path / dataset.samples[1].labels["stomach"])
    (alone,) = measure_ceilings(dataset, dataset.samples, [(4.0, 4.0, 4.0)])
    assert alone.classes.keys() == {"large_bowel"}


def test_of_exclusive_classes_the_first_keeps_a_voxel_that_both_would_have(tmp_path: Path):
    """Halves that touch at x = 9: a voxel of two lies over the border, and either class fills half of it."""
    dataset = tiny.write(tmp_path, cases=1, days=1, exclusive=True)
    affine = stack_affine((1.0, 1.0), 1.0)
    for name, side in zip(tiny.CLASSES, (slice(1, 9), slice(9, 17)), strict=True):
        mask = np.zeros((18, 6, 6), np.uint8)
        mask[side] = 1
        write_volume(Volume(mask, affine), tmp_path / dataset.samples[0].labels[name])
    image = Volume(np.ones((18, 6, 6), np.uint16), affine)
    write_volume(image, tmp_path / dataset.samples[0].images[0])

    (found,) = measure_ceilings(dataset, dataset.samples, [(2.0, 1.0, 1.0)])

    assert found.classes["large_bowel"] > found.classes["stomach"]


def test_few_scans_are_taken_evenly_and_none_is_begun_after_the_time(tmp_path: Path, monkeypatch):
    dataset = tiny.write(tmp_path, cases=6, days=2)
    monkeypatch.setattr(label_ceiling, "available_cores", lambda: 1)
    seen = []
    monkeypatch.setattr(label_ceiling, "_scan_scores", lambda _, sample, **__: seen.append(sample.name) or {})
    clock = iter([0.0, *[1.0] * 3, *[31.0] * 9])

    (found,) = measure_ceilings(dataset, dataset.samples, [(1.5, 1.5, 3.0)], now=lambda: next(clock))

    assert found.scans == len(seen) == 4
    monkeypatch.setattr(label_ceiling, "SCANS", 3)
    seen.clear()
    measure_ceilings(dataset, dataset.samples, [(1.5, 1.5, 3.0)])
    assert seen == ["case1_day0", "case3_day0", "case5_day0"]
