import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tests.training.patches import labels as unpacked_labels
from volseg.arrays import IGNORE
from volseg.training.loading.packed_scan import PackedScan, bytes_per_voxel, first_wins, pack_labels


def labels(classes: int, seed: int, *, some_ignored: bool = True) -> np.ndarray:
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, (classes, 3, 4, 5)).astype(np.uint8)
    if some_ignored:
        label[..., 3:] = IGNORE
    return label


def packed(label: np.ndarray, channels: int = 2) -> PackedScan:
    image = np.random.default_rng(0).random((channels, *label.shape[1:])).astype(np.float16)
    points = tuple(np.argwhere(mask == 1).astype(np.int16) for mask in label)
    return PackedScan(image, pack_labels(label), points, (1.5, 1.5, 3.0), exclusive=False)


@given(st.integers(1, 20), st.integers(0, 99), st.booleans())
def test_labels_come_back_from_their_bits(classes: int, seed: int, some_ignored: bool) -> None:
    label = labels(classes, seed, some_ignored=some_ignored)

    scan = packed(label)

    assert np.array_equal(unpacked_labels(scan), label)
    assert scan.image.nbytes + scan.bits.nbytes == 60 * bytes_per_voxel(2, classes)


@pytest.mark.parametrize(("classes", "expected"), [(1, 3), (7, 3), (8, 4), (15, 4), (16, 5)])
def test_a_voxel_takes_two_bytes_and_a_bit_a_class_and_one_for_ignored(classes, expected) -> None:
    assert bytes_per_voxel(1, classes) == expected


def test_a_scan_comes_back_from_its_file(tmp_path) -> None:
    scan = packed(labels(9, 0))
    scan.write(tmp_path / "a.scan", [["image", 1, 2]])

    found = PackedScan.read_mapped(tmp_path / "a.scan", [["image", 1, 2]])

    assert found.image.dtype == np.float16
    assert np.array_equal(found.image, scan.image)
    assert np.array_equal(found.bits, scan.bits)
    assert len(found.points) == 9
    assert all(map(np.array_equal, found.points, scan.points))
    assert (found.spacing_mm, found.exclusive) == (scan.spacing_mm, scan.exclusive)

    before = (tmp_path / "a.scan").read_bytes()
    found.image[...] = 1
    assert (tmp_path / "a.scan").read_bytes() == before


def test_a_file_made_from_something_else_or_cut_short_is_not_taken(tmp_path) -> None:
    path = tmp_path / "a.scan"
    packed(labels(2, 0)).write(path, "source")
    whole = path.read_bytes()

    assert PackedScan.read_mapped(path, "source") is not None
    assert PackedScan.read_mapped(path, "other") is None
    assert PackedScan.read_mapped(tmp_path / "none.scan", "source") is None
    for damaged in (b"", bytes(len(whole)), whole[:-1], b"junk" * 99):
        path.write_bytes(damaged)
        assert PackedScan.read_mapped(path, "source") is None


@given(st.integers(1, 9), st.integers(0, 99), st.booleans())
def test_held_planes_are_the_classes_that_have_voxels(classes: int, seed: int, some_ignored: bool) -> None:
    label = labels(classes, seed, some_ignored=some_ignored)
    label[seed % classes][label[seed % classes] == 1] = 0

    held = packed(label).held_planes

    expected = [number for number, mask in enumerate(label) if (mask == 1).any()]
    assert held == (*expected, *([classes] if some_ignored else []))


@given(arrays.arrays(np.uint8, (3, 2, 3, 4), elements=st.integers(0, 1)))
def test_of_several_classes_at_a_voxel_the_first_stays(label) -> None:
    before = label.copy()

    found = first_wins(label)

    assert np.array_equal(found.any(axis=0), label.any(axis=0))
    assert np.array_equal(found.argmax(axis=0), label.argmax(axis=0))
    assert found.sum(axis=0).max() <= 1
    assert np.array_equal(label, before)
