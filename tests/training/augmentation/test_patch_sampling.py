import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from volseg.arrays import IGNORE
from volseg.training.augmentation.patch_sampling import PatchFrame, cut_patch, smooth_field
from volseg.training.augmentation.spatial import rotation_matrix, voxel_matrix
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


def truth(found: PackedScan) -> np.ndarray:
    whole = (slice(None),) * 3
    return np.stack([found.label_plane(k, whole) for k in range(3)])


def by_scipy(volume: np.ndarray, frame: PatchFrame) -> np.ndarray:
    """The same affine map, of the whole volume; beyond it lies 0."""
    centre = (np.array(frame.size) - 1) / 2
    offset = frame.start + centre - frame.matrix @ centre
    return ndimage.affine_transform(
        volume.astype(np.float64),
        frame.matrix,
        offset,
        output_shape=frame.size,
        order=1,
        mode="grid-constant",
    )


angles = st.tuples(*[st.floats(-3.1, 3.1)] * 3)
starts = st.tuples(*[st.integers(-9, 17)] * 3)
zooms = st.tuples(*[st.floats(0.6, 1.6)] * 3)


@given(starts, angles, zooms, st.sampled_from([(8, 7, 6), (1, 5, 4), (20, 18, 14)]))
def test_one_resampling_gives_what_scipy_gives_of_the_whole_scan(start, angle, zoom, size) -> None:
    matrix = voxel_matrix(rotation_matrix(angle) * zoom, SPACING_MM)
    frame, found = PatchFrame(start, size, matrix), scan()

    image, label = cut_patch(found, frame)

    for channel, expected in zip(image, found.image, strict=True):
        assert np.allclose(channel, by_scipy(expected, frame), atol=1e-4)
    for mask, planes in zip(label, truth(found), strict=False):
        share = by_scipy(planes, frame)
        clear = np.abs(share - 0.5) > 1e-4
        assert np.array_equal(mask[clear] == 1, share[clear] >= 0.5)


@given(starts, st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3), st.sampled_from([(5, 4, 3), (25, 4, 30)]))
def test_without_a_variation_the_patch_is_the_scans_own_voxels(start, signs, size) -> None:
    found = scan(below=8)
    label = np.where(truth(found)[2], IGNORE, truth(found)[:2])

    image, mask = cut_patch(found, PatchFrame(start, size, np.diag(signs)))

    around = [(0, 0), *[(30, 60)] * 3]
    window = (slice(None), *(slice(30 + s, 30 + s + n) for s, n in zip(start, size, strict=True)))
    turned = (slice(None), *(slice(None, None, int(sign)) for sign in signs))
    assert image.dtype == np.float32
    assert np.array_equal(image, np.pad(found.image, around)[window][turned])
    assert np.array_equal(mask, np.pad(label, around)[window][turned])


def test_flips_by_resampling_equal_flips_by_copying() -> None:
    found, tiny = scan(below=8), np.diag([-1 + 1e-7, 1, -1])

    one = cut_patch(found, PatchFrame((3, 2, 4), (6, 8, 7), np.diag([-1.0, 1, -1])))
    other = cut_patch(found, PatchFrame((3, 2, 4), (6, 8, 7), tiny))

    assert np.allclose(one[0], other[0], atol=1e-4)
    assert np.array_equal(one[1], other[1])


@given(starts, angles)
def test_exclusive_classes_stay_disjoint_and_ignored_slices_ignored(start, angle) -> None:
    found = scan(exclusive=True, below=6)
    frame = PatchFrame(start, (9, 9, 9), rotation_matrix(angle))

    label = cut_patch(found, frame)[1]

    nowhere = by_scipy(truth(found)[2], frame)
    clear = np.abs(nowhere - 0.5) > 1e-4
    assert ((label == IGNORE).all(axis=0) == (nowhere >= 0.5))[clear].all()
    assert ((label == 1).sum(axis=0) <= 1).all()
    assert np.array_equal((label == IGNORE).any(axis=0), (label == IGNORE).all(axis=0))


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

    image = cut_patch(ramp, PatchFrame(start, size, bend=controls))[0]

    straight = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"))
    moved = image * 32 - straight - np.reshape(start, (3, 1, 1, 1))
    assert np.allclose(moved, smooth_field(controls, size), atol=1e-3)


def test_a_smooth_field_has_the_variance_of_its_control_points_and_no_jumps() -> None:
    fields = np.stack([
        smooth_field(np.random.default_rng(seed).normal(size=(3, 7, 7, 7)), (32, 30, 28))
        for seed in range(60)
    ])  # fmt: skip

    assert np.allclose(fields.std(axis=(0, 1)), 1, atol=0.35)
    assert fields.std() == pytest.approx(1, abs=0.05)
    assert np.diff(fields, axis=2).std() < 0.35  # of independent voxels it would be 1.41
