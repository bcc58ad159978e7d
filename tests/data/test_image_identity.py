from pathlib import Path

import numpy as np
import pytest

from volseg.data.image_identity import ScanIdentity, image_hash
from volseg.data.volume import Volume, stack_affine
from volseg.data.volume_files import read, write_volume

AFFINE = stack_affine((1.5, 1.5), 3.0)
WHOLE = np.random.default_rng(0).integers(0, 250, (6, 5, 4))


def volume(voxels: np.ndarray) -> Volume:
    return Volume(voxels, AFFINE)


@pytest.mark.parametrize("kind", ["uint8", "int16", "uint16", "int32", "int64", "float32", "float64"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_an_image_has_one_hash_in_every_type_and_order_that_holds_its_values(kind, order):
    stored = volume(WHOLE.astype(kind, order=order))

    assert image_hash([stored]) == image_hash([volume(WHOLE.astype(np.uint16))])


@pytest.mark.parametrize("low", [-1000, 0, 40000, 70000])
def test_values_beyond_16_bits_and_below_zero_count_too(low):
    voxels = WHOLE + low

    assert image_hash([volume(voxels)]) == image_hash([volume(voxels.astype(np.float64))])
    assert image_hash([volume(voxels)]) != image_hash([volume(WHOLE + 5)])


def test_a_fraction_has_its_own_hash_in_both_float_types():
    voxels = (WHOLE / 7).astype(np.float32)

    assert image_hash([volume(voxels)]) == image_hash([volume(voxels.astype(np.float64))])
    assert image_hash([volume(voxels)]) != image_hash([volume(np.rint(voxels))])


def test_every_voxel_the_shape_and_the_order_of_channels_and_slices_count():
    changed, other = WHOLE.copy(), WHOLE[::-1].copy()
    changed[5, 4, 3] += 1
    images = [
        [volume(voxels.astype(np.int16))]
        for voxels in (WHOLE, changed, other, WHOLE[:, :, ::-1], WHOLE[:, :, :3])
    ]
    images += [[volume(WHOLE.reshape((5, 6, 4), order=order).astype(np.int16))] for order in "CF"]
    images += [[*images[0], *images[2]], [*images[2], *images[0]]]

    assert len({image_hash(channels) for channels in images}) == len(images)


def test_a_written_and_read_image_keeps_its_hash(tmp_path: Path):
    image = volume(WHOLE)
    write_volume(image, tmp_path / "image.nii.gz")

    assert image_hash([read(tmp_path / "image.nii.gz")]) == image_hash([image])


@pytest.mark.parametrize(
    ("name", "image", "same", "namesake"),
    [
        ("a", "1", True, False),
        ("a", "2", False, True),
        ("a", "", True, False),
        ("b", "1", True, False),
        ("b", "2", False, False),
        ("b", "", False, False),
    ],
)
def test_a_scan_is_known_by_its_image_and_by_its_name_where_that_is_unknown(name, image, same, namesake):
    known = ScanIdentity(name="a", case="a", image="1")
    other = ScanIdentity(name=name, case=name, image=image)

    assert (known.is_same_scan(other), other.is_same_scan(known)) == (same, same)
    assert (known.is_namesake(other), other.is_namesake(known)) == (namesake, namesake)
