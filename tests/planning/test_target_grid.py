from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import tiny
from volseg.data.dataset import Dataset
from volseg.data.volume import Volume
from volseg.data.volume_files import write_volume
from volseg.errors import UserError
from volseg.planning.target_grid import (
    COARSENING,
    FEWEST,
    TargetGrid,
    choose_grid,
    coarser_grids,
    ct_window,
    is_ct,
    trainable_scans,
)
from volseg.stats.scan_stats import ScanStats
from volseg.stats.stats import stats


def scan(shape, spacing, axes="LPI"):
    return ScanStats(
        name="s", case="c", day=0, part="train", excluded=False, shape=shape, spacing_mm=spacing,
        axes=axes, dtype="uint16", intensities={}, blank_share={}, organs={}, extent_mm=None,
        empty_slices=0, overlaps={},
    )  # fmt: skip


def test_the_grid_is_the_median_of_spacings_and_the_shape_that_of_sizes_on_it():
    scans = [scan((100, 80, 40), (1.0, 1.0, 2.0)), scan((50, 80, 40), (2.0, 1.0, 2.0)),
             scan((60, 90, 20), (2.0, 1.0, 2.0))]  # fmt: skip

    found = choose_grid(scans)

    assert found.spacing_mm == (2.0, 1.0, 2.0)
    assert found.shape == (50, 80, 40)  # 100, 100 and 120 mm of 2 mm; 80, 80, 90; 80, 80, 40


def test_scans_count_along_the_patients_axes():
    turned = scan((40, 100, 80), (3.0, 1.0, 2.0), axes="ILP")

    assert choose_grid([turned]).spacing_mm == (1.0, 2.0, 3.0)
    assert choose_grid([turned]).shape == (100, 80, 40)


def test_a_much_coarser_axis_gets_its_10th_percentile():
    slices = [2.0, 5.0, 5.0, 5.0, 6.0, 6.0, 6.0, 6.0, 6.0, 6.0, 6.0]
    scans = [scan((300, 300, 20), (1.0, 1.0, mm)) for mm in slices]

    assert choose_grid(scans).spacing_mm == (1.0, 1.0, 5.0)  # the second of eleven
    assert "10th percentile" in choose_grid(scans).reason
    cubes = [scan((30, 30, 30), (1.0, 1.0, mm)) for mm in slices]  # no fewer voxels along it
    assert choose_grid(cubes).spacing_mm == (1.0, 1.0, 6.0)


@given(st.lists(st.tuples(*[st.floats(0.3, 8)] * 3), min_size=1, max_size=8), st.floats(1.1, 4))
def test_finer_voxels_of_scans_of_one_size_give_a_larger_shape(spacings, times):
    coarse = [scan((60, 60, 60), mm) for mm in spacings]
    finer = [scan((round(60 * times),) * 3, tuple(v * 60 / round(60 * times) for v in mm)) for mm in spacings]

    pairs = list(zip(choose_grid(finer).shape, choose_grid(coarse).shape, strict=True))
    assert all(f >= c for f, c in pairs)
    assert any(f > c for f, c in pairs)


def test_slices_coarsen_in_plane_and_cubes_along_all_axes():
    thick = coarser_grids(TargetGrid((1.25, 1.25, 7.7), (256, 256, 36), ""))
    cubes = coarser_grids(TargetGrid((1.0, 1.0, 1.0), (35, 50, 35), ""))

    assert [grid.spacing_mm[0] for grid in thick] == [1.25, 1.562, 2.0, 2.5, 3.125, 4.0]
    assert {grid.spacing_mm[2] for grid in thick} == {7.7}
    assert thick[3].shape == (128, 128, 36)
    assert [grid.spacing_mm for grid in cubes] == [(mm, mm, mm) for mm in (1.0, 1.25, 1.6, 2.0)]
    assert [min(grid.shape) for grid in cubes] == [35, 28, 22, 18]  # 14 would be too few


@given(st.tuples(*[st.floats(0.3, 8)] * 3), st.tuples(*[st.integers(1, 600)] * 3))
def test_no_axis_becomes_finer_and_voxels_become_fewer(spacing_mm, shape):
    grids = coarser_grids(TargetGrid(spacing_mm, shape, ""))

    assert grids[0].spacing_mm == spacing_mm
    assert len(grids) <= 1 + len(COARSENING)
    for fine, coarse in pairwise(grids):
        pairs = [*zip(fine.spacing_mm, coarse.spacing_mm, fine.shape, coarse.shape, strict=True)]
        assert all(a <= b and m >= n for a, b, m, n in pairs)
        assert all(n >= min(m, FEWEST) for _, _, m, n in pairs)
        assert max(coarse.spacing_mm) / min(coarse.spacing_mm) <= max(spacing_mm) / min(spacing_mm) * 1.001


def test_a_dataset_without_labels_is_told(tmp_path: Path):
    dataset = tiny.write(tmp_path, cases=2, days=1)
    bare = tuple(one.model_copy(update={"labels": None}) for one in dataset.samples)
    bare = Dataset(tmp_path, dataset.facts.model_copy(update={"samples": bare}))
    bare.save()
    tiny.record(bare)

    with pytest.raises(UserError, match="tiny: none of its 2 scans has labels to train on"):
        trainable_scans(stats(tmp_path))


def as_ct(dataset: Dataset) -> Dataset:
    """Hounsfield units: -1000 around an organ of 20 to 119."""
    for sample in dataset.samples:
        label = dataset.labels(sample).any(axis=0)
        voxels = np.full(label.shape, -1000, np.int16)
        voxels[label] = np.resize(np.arange(20, 120), label.sum())
        write_volume(Volume(voxels, tiny.AFFINE), dataset.folder / sample.images[0])
    tiny.record(dataset)
    return dataset


def test_a_cts_window_is_that_of_the_labelled_voxels(tmp_path: Path):
    dataset = as_ct(tiny.write(tmp_path, cases=2, days=1))
    found = stats(tmp_path)

    window, reason = ct_window(dataset, trainable_scans(found))

    assert is_ct(found)
    assert window.low == pytest.approx(20, abs=1)
    assert window.high == pytest.approx(119, abs=1)
    assert "2 scans" in reason


def test_an_mr_is_no_ct_unless_its_channel_says_so(tmp_path: Path):
    dataset = tiny.write(tmp_path, cases=1, days=1)
    tiny.record(dataset)
    found = stats(tmp_path)

    assert not is_ct(found)
    named = dict.fromkeys(("CT",), found.intensities["mr"])
    assert is_ct(found.model_copy(update={"intensities": named}))
    other = dict.fromkeys(("contrast",), found.intensities["mr"])  # ct within a word
    assert not is_ct(found.model_copy(update={"intensities": other}))
    both = found.intensities | named
    assert not is_ct(found.model_copy(update={"intensities": both}))
