from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from torch.utils._python_dispatch import TorchDispatchMode

from tests.training.patches import cut, labels, planes
from volseg.arrays import IGNORE
from volseg.model.engines.torch_arrays import TorchArrays
from volseg.training.augmentation import resampling
from volseg.training.augmentation.drawn_patch import DrawnPatch
from volseg.training.augmentation.grey_values import Smooth
from volseg.training.augmentation.patch_frame import PatchFrame
from volseg.training.augmentation.resampling import cut_patch
from volseg.training.augmentation.spatial import RotateZoom, rotation_matrix, voxel_matrix
from volseg.training.loading.packed_crop import PackedCrop
from volseg.training.loading.packed_scan import PackedScan, pack_labels

SHAPE = (18, 15, 12)
SPACING_MM = (1.0, 1.5, 3.0)


def scan(*, exclusive: bool = False, below: int | None = None, seed: int = 0) -> PackedScan:
    """Two smooth blobs a class, and two channels of noise."""
    rng = np.random.default_rng(seed)
    image = rng.random((2, *SHAPE)).astype(np.float16)
    fields = [ndimage.gaussian_filter(rng.normal(size=SHAPE), 1.5) for _ in range(2)]
    label = np.stack([field > 0.02 for field in fields]).astype(np.uint8)
    if exclusive:
        label[1] &= 1 - label[0]
    if below is not None:
        label[..., below:] = IGNORE
    return PackedScan(image, pack_labels(label), (np.zeros((0, 3)),) * 2, SPACING_MM, exclusive)


def places(frame: PatchFrame) -> np.ndarray:
    """The place of each voxel in the scan, to which it is rounded: whole 256ths, int64 (3, X, Y, Z)."""
    x, y, z = (one.astype(np.int64) for one in frame.axis_places())
    fine = x[:, :, None, None] + y[:, None, :, None] + z[:, None, None, :]
    if frame.bend is not None:
        fine = fine + np.floor(smooth_field(frame) * 2**16 + 0.5).astype(np.int64)
    return (fine + 128) // 256


def smooth_field(frame: PatchFrame) -> np.ndarray:
    """The displacement (3, X, Y, Z) of a bent frame, float64."""
    controls, x, y, z = frame.bend_weights()
    return np.einsum("cijk,xi,yj,zk->cxyz", controls, x, y, z, optimize=True)


def in_whole_numbers(volume: np.ndarray, at: np.ndarray) -> np.ndarray:
    """A volume (X, Y, Z) read at places (3, ...) in 256ths of a voxel: in 2^-24, summed in its own type."""
    padded = np.pad(volume, [(1, 2)] * 3)
    kept = [np.clip(one, -256, 256 * n) for one, n in zip(at, volume.shape, strict=True)]
    total = np.zeros(at.shape[1:], volume.dtype)
    for corner in np.ndindex(2, 2, 2):
        index = tuple(one // 256 + 1 + step for one, step in zip(kept, corner, strict=True))
        parts = [one % 256 if step else 256 - one % 256 for one, step in zip(kept, corner, strict=True)]
        total += padded[index] * np.prod(parts, axis=0).astype(volume.dtype)
    return total


def by_scipy(volume: np.ndarray, at: np.ndarray) -> np.ndarray:
    """A volume (X, Y, Z) read linearly at places (3, ...) in 256ths of a voxel; beyond it lies 0."""
    return ndimage.map_coordinates(volume.astype(np.float64), at / 256, order=1, mode="grid-constant")


def expected_label(found: PackedScan, frame: PatchFrame) -> np.ndarray:
    """The masks cut at one half, in whole numbers, for classes that may overlap."""
    at = places(frame)
    *masks, ignored = (2 * in_whole_numbers(plane.astype(np.int64), at) >= 2**24 for plane in planes(found))
    return np.where(ignored, IGNORE, np.stack(masks))


angles = st.tuples(*[st.floats(-3.1, 3.1)] * 3)
about_z = st.tuples(st.just(0.0), st.just(0.0), st.floats(-3.1, 3.1))
starts = st.tuples(*[st.integers(-9, 17)] * 3)
zooms = st.tuples(*[st.floats(0.6, 1.6)] * 3)
sizes = st.sampled_from([(8, 7, 6), (1, 5, 4), (20, 18, 14)])


def frames() -> st.SearchStrategy[PatchFrame]:
    """Rotated about z or all axes, zoomed, and sometimes bent."""

    def frame(start: Any, angle: Any, zoom: Any, size: Any, bend: int | None) -> PatchFrame:
        matrix = voxel_matrix(rotation_matrix(angle) * zoom, SPACING_MM)
        controls = None if bend is None else np.random.default_rng(bend).normal(0, 1.5, (3, 5, 5, 5))
        return PatchFrame(start, size, matrix, controls)

    return st.builds(frame, starts, angles | about_z, zooms, sizes, st.none() | st.integers(0, 9))


@given(frames(), st.sampled_from([None, 8]))
def test_masks_are_those_found_in_whole_numbers_voxel_by_voxel(frame, below) -> None:
    """So they are the same on every device: no sum of theirs is ever rounded."""
    found = scan(below=below)

    assert np.array_equal(cut(found, frame)[1], expected_label(found, frame))


@given(frames())
def test_one_resampling_gives_what_scipy_gives_of_the_whole_scan(frame) -> None:
    found, at = scan(), places(frame)

    image, label = cut(found, frame)

    for channel, expected in zip(image, found.image, strict=True):
        assert np.allclose(channel, by_scipy(expected, at), atol=1e-6)
    for mask, plane in zip(label, planes(found), strict=False):
        assert np.array_equal(mask == 1, by_scipy(plane, at) >= 0.5)


flips = st.builds(
    lambda start, size, signs: PatchFrame(start, size, np.diag(signs)),
    starts, sizes, st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3),
)  # fmt: skip


@given(frames() | flips, st.booleans())
def test_a_teachers_map_goes_where_an_image_goes_and_moves_no_mask(frame, exclusive: bool) -> None:
    """A map used as an image gives the same patch, to the rounding to 255ths."""
    plain, rng = scan(exclusive=exclusive), np.random.default_rng(5)
    maps = rng.integers(0, 256, (2, *SHAPE)).astype(np.uint8)
    as_image, _ = cut(replace(plain, image=maps.astype(np.float32)), frame)
    crop = PackedCrop.from_scan(replace(plain, teacher=maps)).window(frame.source_box(SHAPE))
    image, label = torch.zeros(2, *frame.size), torch.zeros(2, *frame.size, dtype=torch.uint8)
    teacher = torch.zeros_like(label)

    cut_patch(crop, frame, image, label, teacher)

    assert np.abs(teacher.numpy() - as_image).max() <= 0.5 + 1e-4
    before, masks = cut(plain, frame)
    assert np.array_equal(label, masks)
    assert np.allclose(image, before, atol=1e-6)


@given(frames())
def test_voxels_are_read_where_the_frame_says_but_for_half_a_256th(frame) -> None:
    centre = (np.array(frame.size) - 1) / 2
    grid = np.stack(np.meshgrid(*map(np.arange, frame.size), indexing="ij"), -1)
    exact = frame.start + centre + (grid - centre) @ frame.matrix.T
    if frame.bend is not None:
        exact = exact + np.moveaxis(smooth_field(frame), 0, -1)

    rounded = np.moveaxis(places(frame), 0, -1) / 256
    assert np.abs(rounded - exact).max() <= 1 / 512 + 4 / 2**17  # of three summands and the bend


@given(frames())
def test_the_source_box_holds_all_that_a_patch_reads_and_little_more(frame) -> None:
    """Voxels beyond it have no weight; without a bend it is the smallest box but for the rounding."""
    at, box = places(frame), frame.source_box(SHAPE)

    for along, part, length in zip(at, box, SHAPE, strict=True):
        first, last = max(0, along.min() // 256), min(length, -(-along.max() // 256) + 1)
        if first < last:
            assert part.start <= first
            assert part.stop >= last
            if frame.bend is None:
                assert part.start >= first - 1
                assert part.stop <= last + 1


@given(frames())
def test_a_patch_is_the_same_in_slabs_and_with_any_number_of_threads(frame) -> None:
    found = scan(below=8)
    image, label = cut(found, frame)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resampling, "SLAB", {"cpu": 1})
        slab_image, slab_label = cut(found, frame)

    assert np.allclose(image, slab_image, atol=1e-6)
    assert np.array_equal(label, slab_label)


@given(starts, st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3), st.sampled_from([(5, 4, 3), (25, 4, 30)]))
def test_without_a_variation_the_patch_is_the_scans_own_voxels(start, signs, size) -> None:
    found = scan(below=8)
    label = labels(found)

    image, mask = cut(found, PatchFrame(start, size, np.diag(signs)))

    around = [(0, 0), *[(30, 60)] * 3]
    window = (slice(None), *(slice(30 + s, 30 + s + n) for s, n in zip(start, size, strict=True)))
    turned = (slice(None), *(slice(None, None, int(sign)) for sign in signs))
    assert image.dtype == np.float32
    assert np.array_equal(image, np.pad(found.image, around)[window][turned])
    assert np.array_equal(mask, np.pad(label, around)[window][turned])


def test_flips_by_resampling_equal_flips_by_copying() -> None:
    found, tiny = scan(below=8), np.diag([-1 + 1e-7, 1, -1])

    one = cut(found, PatchFrame((3, 2, 4), (6, 8, 7), np.diag([-1.0, 1, -1])))
    other = cut(found, PatchFrame((3, 2, 4), (6, 8, 7), tiny))

    assert np.allclose(one[0], other[0], atol=1e-4)
    assert np.array_equal(one[1], other[1])


@given(frames())
def test_of_exclusive_classes_the_first_keeps_a_voxel_and_ignored_slices_stay_ignored(frame) -> None:
    found = scan(exclusive=True, below=6)
    first, second = expected_label(found, frame)

    label = cut(found, frame)[1]

    assert np.array_equal(label[0], first)
    assert np.array_equal(label[1], np.where((first == 1) & (second == 1), 0, second))


def test_rotation_is_in_millimetres() -> None:
    """A quarter turn about z: 3 mm along y come from 3 mm along x, be they 3 voxels or 2."""
    quarter = voxel_matrix(rotation_matrix((0, 0, np.pi / 2)), SPACING_MM)

    assert np.allclose(quarter @ [3, 0, 0], [0, 2, 0])
    assert np.allclose(quarter @ [0, 2, 0], [-3, 0, 0])
    assert np.allclose(quarter @ [0, 0, 5], [0, 0, 5])


@given(angles)
def test_a_rotation_keeps_lengths_and_handedness(angle) -> None:
    matrix = rotation_matrix(angle)

    assert np.allclose(matrix @ matrix.T, np.eye(3))
    assert np.linalg.det(matrix) == pytest.approx(1)


def test_a_bend_moves_each_voxel_by_the_field() -> None:
    """On an image that says where each voxel lies, what is read less the place is the displacement."""
    ramps = np.stack(np.meshgrid(*[np.arange(n) for n in SHAPE], indexing="ij")) / 32
    ramp = PackedScan(ramps.astype(np.float32), pack_labels(np.zeros((1, *SHAPE))), ((),), SPACING_MM, False)
    controls = np.random.default_rng(0).normal(0, 0.7, (3, 5, 5, 5))
    start, size = (5, 4, 4), (7, 6, 4)

    image = cut(ramp, PatchFrame(start, size, bend=controls))[0]

    straight = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"))
    moved = image * 32 - straight - np.reshape(start, (3, 1, 1, 1))
    assert np.allclose(moved, smooth_field(PatchFrame(start, size, bend=controls)), atol=1 / 512 + 1e-4)


def test_a_smooth_field_has_the_variance_of_its_control_points_and_no_jumps() -> None:
    controls = (np.random.default_rng(seed).normal(size=(3, 7, 7, 7)) for seed in range(60))
    fields = np.stack([smooth_field(PatchFrame((0, 0, 0), (32, 30, 28), bend=one)) for one in controls])

    assert np.allclose(fields.std(axis=(0, 1)), 1, atol=0.35)
    assert fields.std() == pytest.approx(1, abs=0.05)
    assert np.diff(fields, axis=2).std() < 0.35  # of independent voxels it would be 1.41


class Waits(TorchDispatchMode):
    """Counts tensors made of the processor's values, and reads of a tensor's."""

    made = reads = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        aten = torch.ops.aten
        self.made += func is aten.lift_fresh.default
        self.reads += func in (aten._local_scalar_dense.default, aten.nonzero.default)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("bent", [False, True])
@pytest.mark.parametrize("radians", [(0, 0, 0.4), (0.1, 0, 0.4)])
def test_what_a_patch_needs_is_sent_without_waiting_for_a_gpu(
    monkeypatch, radians: tuple[float, ...], *, bent: bool
) -> None:
    """To a GPU, `TorchArrays.upload` sends it from pinned memory."""
    uploads, upload = [], TorchArrays.upload
    monkeypatch.setattr(TorchArrays, "upload", lambda *args: uploads.append(1) or upload(*args))
    matrix = voxel_matrix(rotation_matrix(radians), SPACING_MM)
    bend = np.random.default_rng(0).normal(size=(3, 4, 4, 4)) if bent else None
    frame, packed = PatchFrame((3, 3, 3), (8, 9, 6), matrix, bend), scan()
    crop = PackedCrop.from_scan(packed).window(frame.source_box(packed.shape))
    image, label = torch.zeros(2, 8, 9, 6), torch.zeros(2, 8, 9, 6, dtype=torch.uint8)

    with Waits() as waits:
        cut_patch(crop, frame, image, label)
        Smooth(0.8)(image)

    assert image.any()
    assert waits.made == len(uploads) > 0
    assert waits.reads == 0


@given(st.tuples(*[st.sampled_from([0.0, 0.1, 0.3])] * 3), st.integers(0, 1000))
def test_each_axis_is_zoomed_by_its_own_setting_at_most(zooms, seed) -> None:
    """Without rotation, by a diagonal matrix; an axis of 0 stays as it is."""
    turn = RotateZoom((0, 0, 0), zooms, 1.0)
    turn.set_random_state(seed)
    frame = turn(DrawnPatch(scan(), PatchFrame((0, 0, 0), SHAPE))).frame

    assert np.abs(frame.matrix - np.diag(np.diag(frame.matrix))).max() < 1e-9
    assert (np.abs(np.diag(frame.matrix) - 1) <= np.array(zooms) + 1e-9).all()
