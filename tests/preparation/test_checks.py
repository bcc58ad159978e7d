"""Each finding shows once its fault is planted in one scan of a phantom, and not before."""

import csv
import json
from collections import defaultdict
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from tests.strategies import sample
from volseg.data.layouts import Nifti
from volseg.data.layouts.gi_tract import rle
from volseg.data.phantom import CLASSES, SMALL, simulate_scan
from volseg.data.volume import Volume, stack_affine
from volseg.preparation import checks, orientation_check
from volseg.preparation.fingerprint import measure_scan
from volseg.preparation.scan_writer import WritePlan, check

CASES, DAYS = range(1, 7), (0, 5)
SPOILT, TWIN = "case3_day0", "case4_day0"
FIRST = 11  # the number of the first slice
AXES = ("left and right", "front and back", "head and foot")
LARGE, SMALL_BOWEL, STOMACH = range(3)


@dataclass(frozen=True)
class Drawn:
    """A scan in memory: image (X, Y, Z) and masks (3, X, Y, Z)."""

    case: str
    day: int
    image: np.ndarray
    masks: np.ndarray
    affine: np.ndarray = field(default_factory=lambda: stack_affine((4.0, 4.0), 3.0))

    def copy(self):
        return replace(self, image=self.image.copy(), masks=self.masks.copy())

    def measured(self):
        volume = Volume(self.image, self.affine)
        masks = dict(zip(CLASSES, self.masks, strict=True))
        print_ = measure_scan([volume], masks, exclusive=False)
        numbers = tuple(range(FIRST, FIRST + self.image.shape[2]))
        told = {"shape": print_.shape, "spacing_mm": print_.spacing_mm, "slices": numbers}
        return sample(self.case, self.day, **told), print_


def drawn(case, day, grid=SMALL[0], seed=0):
    image, masks = simulate_scan(case, day, grid=grid, seed=seed)
    return Drawn(f"case{case}", day, image, masks, stack_affine(grid.pixel_mm, 3.0))


@pytest.fixture(scope="module")
def scans():
    return {f"case{case}_day{day}": drawn(case, day) for case in CASES for day in DAYS}


@pytest.fixture(scope="module")
def seen(scans):
    return {name: one.measured() for name, one in scans.items()}


def judged(seen):
    own = [finding for one in seen.values() for finding in checks.scan_findings(*one)]
    return [*own, *checks.dataset_findings(seen)]


def findings_with(seen, spoilt):
    return judged({**seen, SPOILT: spoilt.measured()})


def told(findings):
    return [(one.scan, one.severity, one.kind, one.slices) for one in findings]


def test_nothing_is_found_in_untouched_scans(seen):
    assert judged(seen) == []


# Faults within one scan. Slices are places; their numbers are FIRST higher.


def one_value(one):
    one.image[..., 30] = 500


def one_value_twice(one):
    one.image[..., 30:32] = 500


def one_value_and_brighter_below(one):
    one.image[..., 36] = 500
    one.image[..., 37:] *= 2


def same_pixels(one):
    one.image[..., 40] = one.image[..., 20]


def same_pixels_thrice(one):
    one.image[..., 41] = one.image[..., 40] = one.image[..., 20]


def same_mask(one):
    one.masks[STOMACH, ..., 21] = one.masks[STOMACH, ..., 20]


def forgotten(one):
    one.masks[STOMACH, ..., 20] = False


def forgotten_twice(one):
    one.masks[STOMACH, ..., 18] = one.masks[STOMACH, ..., 21] = False


def beside_the_body(one):
    one.masks[STOMACH, :7, :7, 10:30] = True


def brighter_below(one):
    one.image[..., 36:] *= 2


def one_dark(one):
    one.image[..., 36] //= 3


def outshining(one):
    """A sixth of the small bowel, less than 0.5 % of the body, is thrice as bright as anything else."""
    inside = np.flatnonzero(one.masks[SMALL_BOWEL])[::6]
    one.image.flat[inside] = 3 * one.image.max() + np.arange(inside.size) % 99


def nothing_drawn(one):
    one.masks[:] = False


def warning(kind, *places):
    return (SPOILT, "warning", kind, tuple(place + FIRST for place in places))


PLANTED = {
    one_value: [warning("constant slice", 30)],
    one_value_twice: [warning("constant slice", 30, 31)],  # and not repeated as well
    one_value_and_brighter_below: [warning("constant slice", 36)],  # its neighbours do not touch
    same_pixels: [warning("repeated slice", 20, 40)],
    same_pixels_thrice: [warning("repeated slice", 20, 40, 41)],
    same_mask: [warning("repeated mask", 20, 21)],
    forgotten: [warning("vanishing organ", 20)],
    forgotten_twice: [warning("vanishing organ", 18, 21)],
    beside_the_body: [warning("outside the body")],
    brighter_below: [warning("intensity jump", 35, 36)],
    one_dark: [warning("intensity jump", 35, 36), warning("intensity jump", 36, 37)],
    outshining: [warning("intensity")],
    nothing_drawn: [warning("no organ")],
}


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_a_planted_fault_is_found_alone_in_its_scan_and_on_its_slices(scans, seen, plant):
    spoilt = scans[SPOILT].copy()
    assert all((spoilt.masks[STOMACH, ..., z].sum() > checks.SMALL) for z in range(17, 24))
    plant(spoilt)

    assert told(findings_with(seen, spoilt)) == PLANTED[plant]


@pytest.mark.parametrize(
    ("plant", "words"),
    [
        (one_value, "one value only on slice 41"),
        (same_pixels, "identical pixels on slices 31, 51"),
        (same_mask, "stomach has the same mask on slices 31, 32"),
        (forgotten, "stomach is away, but there before and after, on slice 31"),
        (beside_the_body, "of stomach lies in the blank around the body"),
        (brighter_below, "mean intensity changes by a factor of 2.0"),
        (nothing_drawn, "has labels, but no organ on any slice"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_finding_says_what_is_wrong_and_where(scans, seen, plant, words):
    spoilt = scans[SPOILT].copy()
    plant(spoilt)

    assert any(words in one.message for one in findings_with(seen, spoilt))


def test_a_part_that_tapers_off_before_another_begins_is_no_vanishing_organ(scans, seen):
    spoilt = scans[SPOILT].copy()
    stomach = spoilt.masks[STOMACH]
    stomach[..., 19:22] = False
    stomach[50, 40, 19] = stomach[40, 50, 21] = True  # one voxel, none, one voxel

    assert findings_with(seen, spoilt) == []


def test_an_organ_that_is_away_for_two_slices_may_have_two_parts(scans, seen):
    spoilt = scans[SPOILT].copy()
    spoilt.masks[STOMACH, ..., 20:22] = False

    assert findings_with(seen, spoilt) == []


def test_gas_in_an_organ_is_not_outside_the_body(scans, seen):
    spoilt = scans[SPOILT].copy()
    spoilt.image[spoilt.masks[STOMACH]] = 0

    assert "outside the body" not in [one.kind for one in findings_with(seen, spoilt)]


def test_slices_of_volumes_are_counted_from_one(scans, seen):
    spoilt = scans[SPOILT].copy()
    one_value(spoilt)
    entry, print_ = spoilt.measured()

    (found,) = checks.scan_findings(entry.model_copy(update={"slices": ()}), print_)

    assert found.slices == (31,)


def test_the_channel_is_named_where_there_are_several(scans):
    volume = Volume(scans[SPOILT].image, scans[SPOILT].affine)
    spoilt = scans[SPOILT].copy()
    one_value(spoilt)
    other = volume.with_voxels(spoilt.image)
    entry = scans[SPOILT].measured()[0]

    (found,) = checks.scan_findings(entry, measure_scan([volume, other], None, exclusive=False))

    assert found.message == "channel 2: one value only on slice 41"


# Faults that show beside other scans


def test_slices_and_masks_of_another_scan_are_told_of_the_later_one(scans, seen):
    spoilt, source = scans[TWIN].copy(), scans[SPOILT]
    spoilt.image[..., 10:13] = source.image[..., 20:23]
    spoilt.masks[STOMACH, ..., 30] = source.masks[STOMACH, ..., 20]

    found = judged({**seen, TWIN: spoilt.measured()})

    assert told(found) == [
        (TWIN, "warning", "repeated slice", (21, 22, 23)),
        (TWIN, "warning", "repeated mask", (41,)),
    ]
    assert found[0].message == f"3 slices have the pixels of slices of {SPOILT}"


def test_a_day_of_another_size_is_noted(seen):
    name = "case3_day7"
    days = {name: drawn(3, 7, SMALL[1]).measured()}

    (found,) = judged({**seen, **days})

    assert told([found]) == [(name, "note", "size", ())]
    assert found.message == ("92x76x70 at 4.4x4.4x3 mm, but other days of case3 are 100x84x72 at 4x4x3 mm")


def test_a_scan_whose_axes_run_otherwise_is_noted_and_not_taken_for_mirrored(scans, seen):
    one = scans[SPOILT]
    turn = np.diag([-1.0, 1, 1, 1])
    turn[0, 3] = one.image.shape[0] - 1
    same_place = replace(one, image=one.image[::-1], masks=one.masks[:, ::-1], affine=one.affine @ turn)

    (found,) = findings_with(seen, same_place)

    assert told([found]) == [(SPOILT, "note", "orientation", ())]


# Mirrored


def flipped(one, axis, *, image=True):
    return replace(
        one, image=np.flip(one.image, axis) if image else one.image, masks=np.flip(one.masks, axis + 1)
    )


def turned(print_, axis, *, image=True):
    """The fingerprint that the same scan would have if its labels (and image) were mirrored."""
    ends = print_.box_mm[0][axis] + print_.box_mm[1][axis]

    def mirror(point):
        return point and tuple(ends - mm if i == axis else mm for i, mm in enumerate(point))

    organs = {
        name: organ.model_copy(update={"centre_mm": mirror(organ.centre_mm)})
        for name, organ in print_.organs.items()
    }
    body_mm = mirror(print_.body_mm) if image else print_.body_mm
    return print_.model_copy(update={"organs": organs, "body_mm": body_mm})


@pytest.mark.parametrize("axis", range(3), ids=AXES)
@pytest.mark.parametrize("image", [True, False], ids=["image and labels", "labels"])
def test_every_scan_is_found_if_mirrored_and_no_other_one_is(scans, seen, axis, image):
    for name, one in scans.items():
        measured = flipped(one, axis, image=image).measured()

        (found,) = orientation_check.mirrored_findings({**seen, name: measured})

        assert (found.scan, found.kind, found.severity) == (name, "mirrored", "warning")
        assert f"with {AXES[axis]} exchanged" in found.message


@pytest.mark.parametrize("axis", range(3), ids=AXES)
def test_turned_fingerprints_are_those_of_turned_scans(scans, seen, axis):
    entry, print_ = seen[SPOILT]
    by_hand = turned(print_, axis, image=False)
    measured = flipped(scans[SPOILT], axis, image=False).measured()[1]

    assert by_hand.body_mm == measured.body_mm
    for name, organ in measured.organs.items():
        assert organ.centre_mm == pytest.approx(by_hand.organs[name].centre_mm, abs=2e-3)
    assert entry.name == SPOILT


def test_of_a_few_cases_none_is_suspected(scans, seen):
    few = {name: one for name, one in seen.items() if one[0].case in ("case1", "case2", "case3")}

    assert (
        list(orientation_check.mirrored_findings({**few, SPOILT: flipped(scans[SPOILT], 0).measured()})) == []
    )


def test_a_scan_without_labels_or_with_one_missing_organ_is_judged_by_what_it_has(scans, seen):
    bare = flipped(scans[SPOILT], 0).copy()
    bare.masks[SMALL_BOWEL] = False
    entry, print_ = seen[TWIN]
    unlabelled = (entry, print_.model_copy(update={"organs": None}))

    found = list(orientation_check.mirrored_findings({**seen, SPOILT: bare.measured(), TWIN: unlabelled}))

    assert [one.scan for one in found] == [SPOILT]


def test_two_mirrored_scans_do_not_hide_each_other(scans, seen):
    both = {name: flipped(scans[name], 2).measured() for name in (SPOILT, "case5_day5")}

    assert {one.scan for one in orientation_check.mirrored_findings({**seen, **both})} == set(both)


def test_days_of_one_case_do_not_vouch_for_each_other(scans, seen):
    first_days = {name: one for name, one in seen.items() if one[0].day == 0}
    own = ("case3_day0", "case3_day5")
    both = {name: flipped(scans[name], 2).measured() for name in own}

    assert {one.scan for one in orientation_check.mirrored_findings({**first_days, **both})} == set(own)


def test_where_the_body_lies_in_the_grid_does_not_matter(seen):
    wide = {}
    for position, (name, (entry, print_)) in enumerate(seen.items()):
        low, high = print_.box_mm
        margin = 150.0 * (position % 3)
        box = (low, (high[0] + margin, *high[1:]))
        wide[name] = (entry, print_.model_copy(update={"box_mm": box}))

    entry, print_ = wide[SPOILT]
    found = orientation_check.mirrored_findings({**wide, SPOILT: (entry, turned(print_, 0))})

    assert [one.scan for one in found] == [SPOILT]


def caught(seen, axis, *, image, every=1):
    """The share of scans that are found if each is mirrored in turn, and how often another one is."""
    names = list(seen)[::every]
    hits, alarms = 0, 0
    for name in names:
        entry, print_ = seen[name]
        found = list(
            orientation_check.mirrored_findings({**seen, name: (entry, turned(print_, axis, image=image))})
        )
        right = [one for one in found if one.scan == name and AXES[axis] in one.message]
        hits += len(right)
        alarms += len(found) - len(right)
    return hits / len(names), alarms


@pytest.mark.slow
def test_of_forty_scans_nineteen_in_twenty_are_found_if_mirrored_and_no_other_one_is():
    """Measured: 40 of 40 left-right and head-foot, 39 front-back, with seeds 0 and 1."""
    drawings = [drawn(case, day, seed=1) for case in range(1, 21) for day in DAYS]
    many = {one[0].name: one for one in (each.measured() for each in drawings)}

    assert list(orientation_check.mirrored_findings(many)) == []
    for axis in range(3):
        for image in (True, False):
            share, alarms = caught(many, axis, image=image)
            assert share >= 0.95
            assert alarms == 0


def stack_of(rows, organ, columns):
    """The masks (X, Y, Z) of one organ, by the numbers of their slices."""
    texts = [(row["id"], row["segmentation"]) for row in rows if row["class"] == organ]
    masks = [rle.decode(text, (columns, columns)) for _, text in sorted(texts)]
    return np.stack(masks, axis=-1)


@pytest.fixture(scope="module")
def real_labels(shared_data):
    """The real masks of 15 scans of 7 cases, without images: seen from the middle of the grid."""
    rows = defaultdict(list)
    with (shared_data / "uwmgi/labels_without_scans.csv").open() as file:
        for row in csv.DictReader(file):
            rows[row["id"].partition("_slice_")[0]].append(row)
    found = {}
    for name, some in rows.items():
        columns, mm = (234, 1.5) if name == "case139_day0" else (276, 1.63)
        masks = np.stack([stack_of(some, organ, columns) for organ in CLASSES])
        case, _, day = name.partition("_day")
        blank = np.ones(masks.shape[1:], np.uint8)
        found[name] = Drawn(case, int(day), blank, masks, stack_affine((mm, mm), 3.0)).measured()
    return found


@pytest.mark.parametrize("axis", range(3), ids=AXES)
def test_real_masks_are_not_suspected_and_found_if_mirrored(real_labels, axis):
    """Measured: all of 15, but one front-back."""
    assert len(real_labels) == 15
    assert list(orientation_check.mirrored_findings(real_labels)) == []

    share, alarms = caught(real_labels, axis, image=True)

    assert share >= 14 / 15
    assert alarms == 0


@pytest.fixture(scope="module")
def hippocampi(shared_data):
    layout = Nifti().scans(shared_data / "hippocampus")
    plan = WritePlan(shared_data, layout.classes, layout.exclusive)
    outcomes = [check(one, plan=plan) for one in layout.scans]
    assert [one.findings for one in outcomes if one.findings] == []
    return {one.name: (one.record.sample, one.record.fingerprint) for one in outcomes}


def test_nothing_is_found_in_195_real_hippocampi(hippocampi):
    assert len(hippocampi) == 195
    assert list(checks.dataset_findings(hippocampi)) == []


@pytest.mark.slow
@pytest.mark.parametrize(("axis", "least"), [(1, 1.0), (2, 0.85)])
def test_mirrored_hippocampi_are_found_front_to_back_and_most_head_to_foot(hippocampi, axis, least):
    """Measured with every fourth: 49 of 49 and 43 of 49.

    From left to right they lie too near to the middle of their box.
    """
    share, alarms = caught(hippocampi, axis, image=True, every=8)

    assert share >= least
    assert alarms == 0


def test_findings_are_plain_data(scans, seen):
    spoilt = scans[SPOILT].copy()
    one_dark(spoilt)

    plain = [one.model_dump(mode="json") for one in findings_with(seen, spoilt)]

    assert json.loads(json.dumps(plain)) == plain


@pytest.mark.parametrize(("size", "count"), [(1, 0), (2, 1)])
def test_a_small_class_that_scaling_makes_one_value_is_told(size, count):
    voxels = np.random.default_rng(0).normal(0, 1, (20, 20, 20)).astype(np.float32)
    mask = np.zeros(voxels.shape, bool)
    mask[4 : 4 + size, 5 : 5 + size, 6 : 6 + size] = True
    voxels[mask] -= 20

    measured = measure_scan([Volume(voxels, np.eye(4))], {"gland": mask}, exclusive=False)

    told = [one for one in checks.scan_findings(sample("a", 0), measured) if one.kind == "intensity"]
    assert [" % of gland lies beyond" in one.message for one in told] == [True] * count
