"""The operations that the page has computed: each does what it says, and nothing else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from volseg.viewer.mask_edits import EDITS, read_edit
from volseg.viewer.refusal import RefusedError

MM = (2.0, 2.0, 5.0)
SETTINGS = [
    ("fill-holes", {}), ("fill-holes", {"axis": "0"}), ("fill-holes", {"axis": "2"}), ("keep-largest", {}),
    ("remove-small", {"ml": "0.05"}), ("fill-between", {}), ("fill-between", {"axis": "1"}),
]  # fmt: skip


def apply(name: str, mask: np.ndarray, probability=None, **settings: str) -> np.ndarray:
    before = mask.copy()
    edited = read_edit(name, settings)(mask, MM, lambda: probability)
    assert np.array_equal(mask, before), "the page's mask is left alone"
    assert (edited.shape, edited.dtype) == (mask.shape, np.bool_)
    return edited


@given(st.integers(0, 10**6), st.sampled_from(SETTINGS), st.tuples(*[st.booleans()] * 3))
def test_done_twice_they_do_no_more_and_they_know_no_left_and_right(seed, edit, mirrored) -> None:
    mask = np.random.default_rng(seed).random((6, 7, 5)) < 0.4
    name, settings = edit
    flips = tuple(slice(None, None, -1 if flip else 1) for flip in mirrored)

    edited = apply(name, mask, **settings)

    assert np.array_equal(apply(name, edited, **settings), edited)
    assert np.array_equal(apply(name, mask[flips], **settings), edited[flips])


@given(st.integers(0, 10**6), st.sampled_from(SETTINGS))
def test_filling_only_adds_and_removing_only_takes_away(seed, edit) -> None:
    mask = np.random.default_rng(seed).random((6, 7, 5)) < 0.4
    edited = apply(edit[0], mask, **edit[1])

    less, more = (edited, mask) if edit[0] in ("keep-largest", "remove-small") else (mask, edited)
    assert not (less & ~more).any()


@pytest.mark.parametrize(("name", "settings"), SETTINGS)
def test_an_empty_mask_stays_empty(name, settings) -> None:
    assert not apply(name, np.zeros((4, 5, 6), bool), **settings).any()


def test_a_hole_of_the_slice_that_is_open_at_its_ends_is_filled_slice_by_slice_only() -> None:
    tube = np.zeros((5, 5, 4), bool)
    tube[1:4, 1:4] = True
    tube[2, 2] = False

    assert np.array_equal(apply("fill-holes", tube), tube)
    assert apply("fill-holes", tube, axis="2")[2, 2].all()
    assert np.array_equal(apply("fill-holes", tube, axis="0"), tube)


def test_parts_below_a_volume_go_and_those_of_it_stay() -> None:
    """A voxel has 2 x 2 x 5 = 20 mm3, so 0.04 ml are two."""
    mask = np.zeros((9, 3, 3), bool)
    mask[0, 0, 0] = mask[3:5, 0, 0] = mask[6:9, 0, 0] = True

    left = apply("remove-small", mask, ml="0.04")

    assert np.flatnonzero(left[:, 0, 0]).tolist() == [3, 4, 6, 7, 8]


def test_the_largest_part_is_kept_alone() -> None:
    mask = np.zeros((9, 3, 3), bool)
    mask[0:2, 0, 0] = mask[4:9, 0, 0] = True

    assert np.flatnonzero(apply("keep-largest", mask)[:, 0, 0]).tolist() == [4, 5, 6, 7, 8]


@given(st.integers(0, 10**6), st.floats(0, 1), st.integers(0, 4), st.integers(0, 4))
def test_a_threshold_takes_its_slices_anew_and_leaves_the_others(seed, threshold, one, other) -> None:
    rng = np.random.default_rng(seed)
    mask, probability = rng.random((4, 3, 5)) < 0.5, rng.integers(0, 256, (4, 3, 5), dtype=np.uint8)
    first, last = sorted((one, other))

    cut = apply("threshold", mask, probability, threshold=str(threshold), first=str(first), last=str(last))

    inside = (probability / 255 >= threshold - 1e-6) & (probability > 0)
    assert np.array_equal(cut[..., first : last + 1], inside[..., first : last + 1])
    others = np.delete(np.arange(5), np.s_[first : last + 1])
    assert np.array_equal(cut[..., others], mask[..., others])


@pytest.mark.parametrize(
    ("name", "settings", "status"),
    [
        ("sharpen", {}, 404),
        ("fill-between", {"axis": "3"}, 400),
        ("fill-between", {"axis": "x"}, 400),
        ("fill-holes", {"first": "1"}, 400),
        ("remove-small", {}, 400),
        ("remove-small", {"ml": "0"}, 400),
        ("remove-small", {"ml": "nan"}, 400),
        ("threshold", {"threshold": "1.1", "first": "0", "last": "1"}, 400),
        ("threshold", {"threshold": "0.5", "first": "-1", "last": "1"}, 400),
    ],
)
def test_settings_that_make_no_sense_are_refused(name, settings, status) -> None:
    with pytest.raises(RefusedError) as refused:
        read_edit(name, settings)

    assert refused.value.status == status
    assert name in str(refused.value)


def test_every_operation_is_tried_here() -> None:
    assert {*EDITS} == {name for name, _ in SETTINGS} | {"threshold"}
