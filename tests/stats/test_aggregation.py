"""The laws of a dataset's statistics: counted by hand, and independent of how scans are stored."""

import itertools

import numpy as np
import pytest

from volseg.data.dataset import DatasetInfo, Sample
from volseg.data.distribution import Spread
from volseg.data.volume import Volume, stack_affine
from volseg.preparation.fingerprint import measure_scan
from volseg.stats.aggregation import aggregate_fingerprints

CLASSES = ("one", "other")
SPACING = (1.5, 2.0, 3.0)


def masks(shape=(6, 5, 8)):
    """Two overlapping boxes: 24 and 8 voxels, 4 of them shared, on slices 1-3 and 3-4 from the head."""
    one, other = np.zeros((2, *shape), bool)
    one[0:4, 1:3, 1:4] = True
    other[2:4, 1:3, 3:5] = True
    return {"one": one, "other": other}


def volume(shape=(6, 5, 8)):
    voxels = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    return Volume(voxels, stack_affine(SPACING[:2], SPACING[2]))


def stored(image, drawn, axes, flips):
    """The same scan with its voxel axes permuted and turned round."""
    affine = image.affine[:, [*axes, 3]].copy()
    shape = [image.voxels.shape[axis] for axis in axes]
    for axis in flips:
        affine[:3, 3] += affine[:3, axis] * (shape[axis] - 1)
        affine[:3, axis] *= -1

    def turn(voxels):
        return np.flip(voxels.transpose(axes), flips)

    return Volume(turn(image.voxels), affine), {name: turn(mask) for name, mask in drawn.items()}


def told(scans, **settings):
    """Statistics of (case, day, image, masks or None); some excluded."""
    excluded, exclusive = settings.get("excluded", ()), settings.get("exclusive", False)
    samples, prints = [], []
    for case, day, image, drawn in scans:
        found = measure_scan([image], drawn, exclusive=exclusive)
        prints.append(found)
        samples.append(
            Sample(
                case=case,
                day=day,
                name=f"{case}_day{day}",
                part="train" if drawn else "test",
                source="",
                images=("image",),
                labels=dict.fromkeys(drawn, "label") if drawn else None,
                shape=found.shape,
                spacing_mm=found.spacing_mm,
                excluded=f"{case}_day{day}" in excluded,
            )
        )
    facts = DatasetInfo(
        name="test",
        layout="nifti",
        classes=CLASSES,
        exclusive=exclusive,
        channels=("mr",),
        samples=tuple(samples),
    )
    return aggregate_fingerprints(facts, prints)


def test_a_scan_is_as_counted_by_hand() -> None:
    found = told([("case1", 0, volume(), masks())])

    one, other = found.organs["one"].where, found.organs["other"].where
    assert one.volume_ml.median == pytest.approx(24 * 9 / 1000)
    assert other.volume_ml.median == pytest.approx(8 * 9 / 1000)
    assert [(w.top_mm.median, w.bottom_mm.median) for w in (one, other)] == [(3, 12), (9, 15)]
    assert [spread.median for spread in one.extent_mm] == [4 * 1.5, 2 * 2.0, 3 * 3.0]
    assert [spread.median for spread in found.extent_mm] == [4 * 1.5, 2 * 2.0, 4 * 3.0]
    assert [one.slice_share for one in found.organs.values()] == [3 / 8, 2 / 8]
    assert (found.slices.count, found.slices.empty) == (8, 4)
    assert found.overlaps[0].share.median == 4 / 8  # of the smaller one
    assert [spread.median for spread in found.sizes.size_mm] == [9, 10, 24]


@pytest.mark.parametrize("axes", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("flips", [(), (0,), (2,), (0, 1, 2)])
def test_how_a_scan_is_stored_changes_nothing_along_the_axes_of_the_patient(axes, flips) -> None:
    usual = told([("case1", 0, volume(), masks())])
    other = told([("case1", 0, *stored(volume(), masks(), axes, flips))])

    assert other.sizes.voxels == usual.sizes.voxels
    assert other.sizes.spacing_mm == usual.sizes.spacing_mm
    assert other.extent_mm == usual.extent_mm
    assert {name: one.where for name, one in other.organs.items()} == {
        name: one.where for name, one in usual.organs.items()
    }


def test_days_are_compared_within_a_case_and_only_where_the_class_is() -> None:
    larger, gone = masks(), masks()
    larger["one"][4:6, 1:3, 1:4] = True  # 36 voxels
    gone["other"][:] = False
    scans = [
        ("case1", 0, volume(), masks()),
        ("case1", 3, volume(), larger),
        ("case1", 6, volume(), gone),
        ("case2", 0, volume(), larger),
    ]

    days = {name: one.days for name, one in told(scans).organs.items()}

    assert days["one"].ratio.count == 1  # case2 has a single day
    assert days["one"].ratio.median == 36 / 24
    assert days["one"].variation.median == pytest.approx(np.std([24, 36, 24], ddof=1) / 28)
    assert (days["one"].on_some_days, days["other"].on_some_days) == (0, 1)
    assert days["other"].ratio.median == 1


def test_a_class_that_no_scan_has_is_there_with_nothing_to_tell() -> None:
    drawn = {**masks(), "other": np.zeros((6, 5, 8), bool)}

    found = told([("case1", 0, volume(), drawn)])

    assert found.organs["other"].model_dump() == {"scans": 0, "slice_share": 0, "where": None, "days": None}
    assert found.overlaps == ()


def test_excluded_scans_are_in_the_sizes_only() -> None:
    bright = Volume(volume().voxels + 1000, volume().affine)
    scans = [("case1", 0, volume(), masks()), ("case2", 0, bright, masks())]

    found = told(scans, excluded=("case2_day0",))

    assert found.excluded == ("case2_day0",)
    assert (found.sizes.grids[0].scans, found.labelled, found.organs["one"].scans) == (2, 1, 1)
    assert found.intensities["mr"].levels["high"].high == 239
    assert found.slices.count == 8


def test_without_labels_there_are_sizes_and_intensities() -> None:
    found = told([("case1", 0, volume(), None)])

    assert (found.labelled, found.organs, found.slices, found.extent_mm) == (0, {}, None, None)
    assert found.intensities["mr"].levels["low"].count == 1
    assert found.scans[0].organs is None


def test_a_case_whose_grid_changes_is_named() -> None:
    scans = [("case1", 0, volume(), None), ("case1", 1, volume((6, 5, 9)), None)]
    scans += [("case2", 0, volume(), None), ("case2", 1, volume(), None)]

    sizes = told(scans).sizes

    assert sizes.changing == ("case1",)
    assert [(grid.shape, grid.scans) for grid in sizes.grids] == [((6, 5, 8), 3), ((6, 5, 9), 1)]


def test_exclusive_classes_have_no_overlaps() -> None:
    drawn = masks()
    drawn["other"] &= ~drawn["one"]

    assert told([("case1", 0, volume(), drawn)], exclusive=True).overlaps == ()


def test_a_spread_is_that_of_numpy() -> None:
    values = [3.0, 1.0, 4.0, 1.0, 5.0]

    found = Spread.from_values(iter(values))

    assert (found.count, found.low, found.median, found.high) == (5, 1, 3, 5)
    assert (found.p5, found.p25) == (np.percentile(values, 5), np.percentile(values, 25))
