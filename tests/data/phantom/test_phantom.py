import csv
import dataclasses
import hashlib
from collections import Counter
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.fft import irfftn, next_fast_len, rfftn

from volseg.data.layouts.gi_tract import rle
from volseg.data.phantom import CLASSES, FULL, SMALL, simulate_scan, write_phantom
from volseg.data.phantom.acquisition import render_day
from volseg.data.phantom.patient import draw_day, draw_patient
from volseg.data.phantom.schedule import kaggle_schedule
from volseg.errors import UserError

CASES, DAYS = (123, *range(1, 10)), (3, 9, 20)

# Masks of an earlier day copied to the next, median Dice on real labels: DOMAIN.md. In CLASSES' order.
REAL_COPIED = (0.33, 0.35, 0.49)
REAL_SHIFTED = (0.44, 0.45, 0.64)


def dice(one, other):
    return 2 * (one & other).sum() / (one.sum() + other.sum())


@pytest.fixture(scope="module")
def scans():
    """Image and masks of 10 cases on three days each, on one grid: {(case, day): (image, masks)}."""
    return {(case, day): simulate_scan(case, day) for case in CASES for day in DAYS}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """A written dataset of two cases and one test case: (folder, facts)."""
    out = tmp_path_factory.mktemp("phantom") / "raw"
    return out, write_phantom(out, cases=2, days=2, workers=1)


def rows_of(out, name="train.csv"):
    with (out / name).open(newline="") as file:
        return list(csv.reader(file))


def pngs(out, part="train"):
    return sorted((out / part).glob("case*/case*_day*/scans/slice_*.png"))


class TestRawLayout:
    def test_file_names_carry_the_true_size_width_first(self, dataset):
        for path in pngs(dataset[0]):
            _, number, width, height, pixel_width, pixel_height = path.stem.split("_")
            pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            assert pixels.dtype == np.uint16
            assert pixels.shape == (int(height), int(width))
            assert len(number) == 4
            pixel_mm = (float(pixel_width), float(pixel_height))
            assert ((int(width), int(height)), pixel_mm) in [(g.shape[:2], g.pixel_mm) for g in SMALL]

    def test_slices_are_numbered_from_0001_without_holes(self, dataset):
        for folder in (dataset[0] / "train").glob("case*/*/scans"):
            numbers = sorted(int(path.name.split("_")[1]) for path in folder.iterdir())
            assert numbers == list(range(1, len(numbers) + 1))

    def test_every_slice_has_three_rows_in_the_order_of_the_classes(self, dataset):
        header, *rows = rows_of(dataset[0])
        assert header == ["id", "class", "segmentation"]
        assert [row[1] for row in rows] == list(CLASSES) * (len(rows) // 3)
        images = {f"{p.parents[1].name}_slice_{p.name.split('_')[1]}" for p in pngs(dataset[0])}
        assert [row[0] for row in rows[::3]] == [row[0] for row in rows[2::3]]
        assert {row[0] for row in rows} == images

    def test_pixels_and_masks_are_those_of_the_scan(self, dataset):
        image, masks = simulate_scan(123, 20, grid=_grid_of(dataset[0], "case123_day20"))
        folder = dataset[0] / "train/case123/case123_day20/scans"
        rows = {(row[0], row[1]): row[2] for row in rows_of(dataset[0])}
        for z in (0, 30, 50, image.shape[2] - 1):
            (path,) = folder.glob(f"slice_{z + 1:04d}_*.png")
            assert np.array_equal(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), image[:, :, z].T)
            for label, mask in zip(CLASSES, masks[:, :, :, z], strict=True):
                text = rows[f"case123_day20_slice_{z + 1:04d}", label]
                assert np.array_equal(rle.decode(text, mask.shape), mask)

    def test_the_test_part_is_one_unlabelled_case(self, dataset):
        out, facts = dataset
        (case,) = (out / "test").iterdir()
        assert facts.test_scans == 1
        assert not any(row[0].startswith(f"{case.name}_") for row in rows_of(out))
        assert rows_of(out, "sample_submission.csv") == [["id", "class", "predicted"]]

    def test_facts_count_what_was_written(self, dataset):
        out, facts = dataset
        assert facts.cases == tuple(
            sorted((p.name for p in (out / "train").iterdir()), key=lambda name: int(name[4:]))
        )
        assert facts.scans == len(list((out / "train").glob("*/*"))) == 4
        assert facts.slices == len(pngs(out)) + len(pngs(out, "test"))
        assert facts.labelled_slices == len({row[0] for row in rows_of(out)[1:] if row[2]})

    def test_case123_has_a_day_20_and_one_case_changes_its_matrix_size(self, dataset):
        assert (dataset[0] / "train/case123/case123_day20/scans").is_dir()
        sizes = [
            {_size(next(day.glob("scans/*"))) for day in case.iterdir()}
            for case in (dataset[0] / "train").iterdir()
        ]
        assert sorted(map(len, sizes)) == [1, 2]
        assert all(width != height for size in sizes for width, height in size)


def _size(path):
    return tuple(map(int, path.stem.split("_")[2:4]))


def _grid_of(out, name):
    size = _size(next((out / "train" / name.split("_")[0] / name / "scans").iterdir()))
    return next(grid for grid in SMALL if grid.shape[:2] == size)


class TestWriting:
    def test_the_worker_count_changes_nothing(self, dataset, tmp_path):
        write_phantom(tmp_path / "raw", cases=2, days=2, workers=2)
        assert _hashes(tmp_path / "raw") == _hashes(dataset[0])

    def test_another_seed_gives_other_patients(self):
        assert not np.array_equal(simulate_scan(123, 20, seed=0)[0], simulate_scan(123, 20, seed=1)[0])

    def test_a_folder_in_use_is_refused(self, tmp_path):
        (tmp_path / "note.txt").touch()
        with pytest.raises(UserError, match="isn't an empty folder; name a new one"):
            write_phantom(tmp_path)

    def test_an_empty_folder_is_used(self, tmp_path):
        assert write_phantom(tmp_path, cases=1, days=1, workers=1).cases == ("case123",)

    @pytest.mark.parametrize(
        "arguments", [{"cases": 0}, {"days": 0}, {"days": 99}, {"cases": 999}, {"workers": 0}]
    )
    def test_numbers_out_of_range_are_refused(self, tmp_path, arguments):
        with pytest.raises(UserError, match="is out of range; expected 1 "):
            write_phantom(tmp_path / "raw", **arguments)


def _hashes(out: Path):
    files = sorted(path for path in out.rglob("*") if path.is_file())
    return {str(p.relative_to(out)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


class TestImages:
    def test_a_little_more_than_half_of_the_voxels_are_exact_zeros(self, scans):
        for image, _ in scans.values():
            assert 0.54 < (image == 0).mean() < 0.61

    def test_the_scale_is_16_bit_and_differs_between_scans(self, scans):
        tops = [np.percentile(image[image > 0], 99) for image, _ in scans.values()]
        assert max(image.max() for image, _ in scans.values()) < 20_000
        assert min(tops) > 2_000
        assert max(tops) / min(tops) > 1.5

    def test_neighbouring_grey_levels_are_all_in_use(self, scans):
        image = scans[123, 20][0]
        assert len(np.unique(image)) > 256 * 4

    def test_one_patient_is_the_same_on_every_grid(self):
        _, small = simulate_scan(123, 20, grid=SMALL[0])
        _, fine = simulate_scan(
            123, 20, grid=dataclasses.replace(SMALL[0], shape=(200, 168, 72), pixel_mm=(2, 2))
        )
        halved = fine[:, ::2, ::2]
        for one, other in zip(small, halved, strict=True):
            assert dice(one, other) > 0.8


class TestLabels:
    def test_bowels_end_on_one_slice_and_at_a_large_area(self, scans):
        for _, masks in scans.values():
            areas = masks[:2].sum(axis=(1, 2))
            last = [int(np.flatnonzero(area)[-1]) for area in areas]
            assert last[0] == last[1]
            assert areas[:, last[0]].sum() > 0.3 * areas.sum(axis=0).max()

    def test_the_cut_differs_between_days(self, scans):
        for case in CASES:
            assert len({np.flatnonzero(scans[case, day][1].any((0, 1, 2)))[-1] for day in DAYS}) > 1

    def test_the_bowel_goes_on_below_the_cut(self):
        today = draw_day(draw_patient(np.random.default_rng(1)), np.random.default_rng(2))
        uncut = dataclasses.replace(today, cut_mm=np.inf)
        image, masks = render_day(today, SMALL[0], np.random.default_rng(3))
        same, whole = render_day(uncut, SMALL[0], np.random.default_rng(3))
        last = np.flatnonzero(masks.any((0, 1, 2)))[-1]
        assert np.array_equal(image, same)
        assert np.array_equal(whole[..., : last + 1], masks[..., : last + 1])
        assert whole[:2, :, :, last + 1].sum() > 0.5 * masks[:2, :, :, last].sum()

    def test_some_voxels_carry_two_classes(self, scans):
        for _, masks in scans.values():
            share = (masks.sum(axis=0) > 1).sum() / masks.any(axis=0).sum()
            assert 0 < share < 0.08


class TestDifficulty:
    def test_days_differ_as_much_as_real_ones(self, scans):
        pairs = [
            (scans[case, earlier][1], scans[case, later][1])
            for case in CASES
            for earlier, later in pairwise(DAYS)
        ]
        copied = np.median([_dices(*pair) for pair in pairs], axis=0)
        shifted = np.median([_dices(_best_shift(*pair), pair[1]) for pair in pairs], axis=0)
        assert copied == pytest.approx(REAL_COPIED, abs=0.1)
        assert shifted == pytest.approx(REAL_SHIFTED, abs=0.1)

    def test_no_range_of_intensities_finds_an_organ(self, scans):
        levels = 100
        counts = np.zeros((len(CLASSES) + 1, levels))
        for image, masks in scans.values():
            low, high = np.percentile(image[image > 0], (1, 99))
            level = np.clip((image - low) / (high - low) * levels, 0, levels - 1).astype(int)
            counts[-1] += np.bincount(level.ravel(), minlength=levels)
            for index, mask in enumerate(masks):
                counts[index] += np.bincount(level[mask], minlength=levels)
        for organ in counts[:-1]:
            assert _best_band(organ, counts[-1]) < 0.4

    def test_the_average_of_other_patients_finds_no_organ(self, scans):
        average = np.mean([masks for (case, _), (_, masks) in scans.items() if case != 123], axis=0)
        truths = np.stack([scans[case, day][1] for case, day in scans])
        for index in range(len(CLASSES)):
            best = max(
                np.mean([dice(average[index] > level, truth) for truth in truths[:, index]])
                for level in np.linspace(0.05, 0.7, 14)
            )
            assert best < 0.6


def _dices(one, other):
    return [dice(a, b) for a, b in zip(one, other, strict=True)]


def _best_shift(moving, fixed):
    """All organs moved together by the whole-voxel shift (to 24) with the best mean Dice."""
    room = [next_fast_len(n + 24, real=True) for n in moving.shape[1:]]
    moving, fixed = moving.astype(np.float32), fixed.astype(np.float32)
    score = 0
    for a, b in zip(moving, fixed, strict=True):
        overlap = irfftn(rfftn(a, room).conj() * rfftn(b, room), room)
        score = score + overlap / (a.sum() + b.sum())
    steps = np.unravel_index(score.argmax(), score.shape)
    wide = np.pad(moving, [(0, 0)] + [(0, r - n) for n, r in zip(moving.shape[1:], room, strict=True)])
    rolled = np.roll(wide, steps, axis=(1, 2, 3))
    x, y, z = moving.shape[1:]
    return rolled[:, :x, :y, :z] > 0


def _best_band(organ, everything):
    """The best Dice of any range of levels, one-sided thresholds included."""
    inside = np.concatenate([[0], organ.cumsum()])
    chosen = np.concatenate([[0], everything.cumsum()])
    hits = np.maximum(inside[None, :] - inside[:, None], 0)
    return (2 * hits / (np.abs(chosen[None, :] - chosen[:, None]) + organ.sum())).max()


@pytest.fixture(scope="module")
def full():
    """One scan of each full-size grid."""
    return [simulate_scan(case, 1, grid=grid) for case, grid in zip((123, 5, 6, 7), FULL, strict=True)]


@pytest.mark.slow
class TestFullSize:
    def test_half_of_the_slices_are_empty_in_the_real_mix(self, full):
        empty = [(~masks.any((0, 1, 2))).sum() for _, masks in full]
        mix = np.array([180, 78, 15, 1])
        total = sum(mix * [grid.shape[2] for grid in FULL])
        assert (mix * empty).sum() / total == pytest.approx(0.57, abs=0.08)

    def test_slices_are_about_as_large_as_real_ones(self, full):
        """Mean size of every eighth slice, 45 to 75 kB in the real mix of matrix sizes."""
        means = [
            np.mean([_kilobytes(image[:, :, z]) for z in range(0, image.shape[2], 8)]) for image, _ in full
        ]
        assert 45 < np.average(means, weights=(180, 78, 15, 1)) < 75

    def test_zeros_and_scale_are_those_of_small_grids(self, full):
        for image, _ in full:
            assert 0.54 < (image == 0).mean() < 0.61
            assert image.max() < 20_000


def _kilobytes(pixels):
    return cv2.imencode(".png", np.ascontiguousarray(pixels.T))[1].size / 1000


@pytest.mark.parametrize("seed", range(5))
def test_like_kaggle_has_the_cases_scans_sizes_and_listed_days_of_the_real_training_set(seed):
    """The figures of DOMAIN.md: 85 cases, 274 scans, 38,496 slices; 15 cases change their size."""
    orders = kaggle_schedule(np.random.default_rng(seed))

    days = {}
    for order in orders:
        days.setdefault(order.case, []).append(order)
    assert (len(days), len(orders)) == (85, 274)
    assert sum(order.grid.shape[2] for order in orders) == 38_496
    assert Counter(order.grid for order in orders) == dict(zip(FULL, (180, 78, 15, 1), strict=True))
    assert sum(len({order.grid for order in scans}) > 1 for scans in days.values()) == 15
    assert len({order[:2] for order in orders}) == 274
    listed = {(7, 0), (81, 30), (43, 18), (138, 0), (43, 26), (124, 19), (144, 15), (123, 20)}
    assert listed <= {order[:2] for order in orders}
