from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import affines, shapes
from volseg.arguments import MaskOptions
from volseg.data.mask_files import MaskFile, MaskReader, read_grid, resample_onto
from volseg.data.volume import Volume, turned_like
from volseg.data.volume_files import write_volume
from volseg.errors import UserError

AFFINE = np.diag([-1.5, -1.5, 3.0, 1.0])
SHAPE = (6, 5, 4)
GRID = Volume(np.zeros(SHAPE, np.uint8), AFFINE)


def drawn() -> np.ndarray:
    """A mask without any symmetry."""
    mask = np.zeros(SHAPE, bool)
    mask[1:4, 0:3, 2] = mask[1, 4, 3] = True
    return mask


def read(path: Path, voxels: np.ndarray, affine: np.ndarray = AFFINE, *, values=(), known=(), **options):
    """The mask of a file of these voxels, and the reader's notes."""
    nibabel.save(nibabel.Nifti1Image(voxels, affine), path / "m.nii.gz")
    reader = MaskReader(GRID, MaskOptions(**options))
    return reader.read(MaskFile(path / "m.nii.gz", values, known)), reader.notes


@pytest.mark.parametrize("value", [1, 255])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_zero_and_one_and_zero_and_255_are_masks(tmp_path: Path, dtype, value: int) -> None:
    mask, notes = read(tmp_path, (drawn() * value).astype(dtype))

    assert mask.dtype == bool
    assert (mask == drawn()).all()
    assert notes == []


@pytest.mark.parametrize("whole", [np.zeros(SHAPE, np.uint8), np.ones(SHAPE, np.uint8)])
def test_an_empty_and_a_full_mask_are_masks(tmp_path: Path, whole: np.ndarray) -> None:
    mask, notes = read(tmp_path, whole)

    assert (mask == whole.astype(bool)).all()
    assert notes == []


def test_any_one_value_is_a_mask_and_is_told(tmp_path: Path) -> None:
    mask, notes = read(tmp_path, (drawn() * 3).astype(np.uint8))

    assert (mask == drawn()).all()
    assert ["value 3" in note for note in notes] == [True]


@pytest.mark.parametrize("one", [0.99999, 1.0000153])
def test_nearly_whole_values_are_rounded_and_told(tmp_path: Path, one: float) -> None:
    mask, notes = read(tmp_path, drawn() * np.float32(one))

    assert (mask == drawn()).all()
    assert "rounded" in notes[0]
    assert f"{one:.5f}"[:6] in notes[0]


@pytest.mark.parametrize(
    ("voxels", "told"),
    [
        (np.full(SHAPE, 0.2, np.float32), "holds the values 0.2; these are probabilities; pass --threshold"),
        (np.where(drawn(), 2, 1).astype(np.uint8), "holds the values 1, 2; expected a mask of one class"),
        (drawn().astype(np.uint8) + drawn()[::-1], "holds the values 0, 1, 2; expected a mask of one class"),
        (
            np.where(drawn(), 255, drawn()[::-1]).astype(np.uint8),
            "holds the values 0, 1, 255; expected a mask",
        ),
        (np.where(drawn(), -1, 0).astype(np.int16), "holds the values -1, 0; expected a mask"),
        (np.where(drawn(), 2.5, 0).astype(np.float32), "holds the values 0, 2.5; expected a mask"),
        (np.where(drawn(), np.nan, 0).astype(np.float32), "no numbers"),
        (np.arange(120, dtype=np.float32).reshape(SHAPE) / 119, r"from 0 to 1; these are probabilities"),
    ],
)
def test_other_values_are_refused_by_name(tmp_path: Path, voxels: np.ndarray, told: str) -> None:
    with pytest.raises(UserError, match=told):
        read(tmp_path, voxels)


def test_probabilities_are_cut_at_the_stated_threshold(tmp_path: Path) -> None:
    probability = np.arange(120, dtype=np.float32).reshape(SHAPE) / 119

    assert (read(tmp_path, probability, threshold=0.3)[0] == (probability >= 0.3)).all()
    assert (read(tmp_path, drawn().astype(np.uint8), threshold=0.3)[0] == drawn()).all()
    assert (read(tmp_path, drawn().astype(np.uint8) * 255, threshold=0.3)[0] == drawn()).all()


def test_a_class_of_a_label_map_is_where_its_values_are(tmp_path: Path) -> None:
    labels = np.arange(120).reshape(SHAPE) % 4

    for dtype in (np.uint8, np.float32, np.int16):
        assert (read(tmp_path, labels.astype(dtype), values=(2,))[0] == (labels == 2)).all()
        assert (read(tmp_path, labels.astype(dtype), values=(1, 3))[0] == np.isin(labels, (1, 3))).all()
    with pytest.raises(UserError, match=r"holds the values 0, 1, 2, 3; expected 0 and 1, 2, or a dataset"):
        read(tmp_path, labels.astype(np.uint8), values=(2,), known=(1, 2))
    with pytest.raises(UserError, match="expected a map of labels"):
        read(tmp_path, labels / np.float32(3), values=(2,))


@given(shapes, affines(), st.permutations([0, 1, 2]), st.tuples(*[st.booleans()] * 3))
def test_turned_axes_are_turned_back_without_loss(shape, affine, order, flipped) -> None:
    there = Volume(np.arange(np.prod(shape)).reshape(shape), affine)
    voxels, steps = there.voxels.transpose(order), affine[:, [*order, 3]].copy()
    for axis, flip in enumerate(flipped):
        if flip:
            voxels = np.flip(voxels, axis)
            steps[:, 3] += steps[:, axis] * (voxels.shape[axis] - 1)
            steps[:, axis] *= -1

    back = turned_like(Volume(voxels, steps), there)

    assert back is not None
    assert np.array_equal(back.voxels, there.voxels)
    assert np.allclose(back.affine, there.affine)


def test_a_mask_that_another_tool_saved_in_its_own_axes_is_the_same_mask(tmp_path: Path) -> None:
    image = nibabel.as_closest_canonical(nibabel.Nifti1Image(drawn().astype(np.uint8), AFFINE))

    mask, notes = read(tmp_path, np.asarray(image.dataobj), image.affine)

    assert (mask == drawn()).all()
    assert notes == []


def moved(mm: float) -> np.ndarray:
    affine = AFFINE.copy()
    affine[2, 3] += mm
    return affine


def test_another_grid_is_refused_with_both_grids_or_resampled_and_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"another grid \(.* 3 3\]\) than its scan \(.* 3 0\]\).*--resample"):
        read(tmp_path, drawn().astype(np.uint8), moved(3))

    mask, notes = read(tmp_path, drawn().astype(np.uint8), moved(3), resample=True)
    assert (mask[:, :, 1:] == drawn()[:, :, :-1]).all()
    assert not mask[:, :, 0].any()
    assert ["resampled" in note for note in notes] == [True]
    with pytest.raises(UserError, match="nothing is left"):
        read(tmp_path, drawn().astype(np.uint8), moved(300), resample=True)


def test_masks_take_the_nearest_voxel_and_probabilities_are_resampled_before_they_are_cut() -> None:
    fine = Volume(np.zeros((12, 5, 4), bool), AFFINE @ np.diag([0.5, 1, 1, 1.0]))
    fine.affine[0, 3] = 0.375  # half a fine voxel beside the coarse one's middle
    fine.voxels[2:8, 0:3, 2] = True

    assert (resample_onto(fine, GRID)[:, :, 2] == fine.voxels[::2, :, 2]).all()
    linear = resample_onto(fine.with_voxels(fine.voxels.astype(np.float32)), GRID)
    assert np.allclose(linear[:, 1, 2], [0, 1, 1, 1, 0, 0])


def test_one_file_of_several_classes_is_read_once(tmp_path: Path) -> None:
    labels = (np.arange(120).reshape(SHAPE) % 3).astype(np.uint8)
    write_volume(Volume(labels, AFFINE), tmp_path / "m.nii.gz")
    reader = MaskReader(GRID)
    reader.read(MaskFile(tmp_path / "m.nii.gz", (1,)))
    (tmp_path / "m.nii.gz").unlink()

    assert (reader.read(MaskFile(tmp_path / "m.nii.gz", (2,))) == (labels == 2)).all()


def test_a_mask_drawn_by_the_other_form_of_its_images_header_lies_on_the_image(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.zeros(SHAPE, np.int16), AFFINE)
    image.set_sform(AFFINE, code=1)
    image.set_qform(moved(9), code=1)
    nibabel.save(image, tmp_path / "image.nii.gz")
    write_volume(Volume(drawn().astype(np.uint8), moved(9)), tmp_path / "mask.nii.gz")

    reader = MaskReader(read_grid(tmp_path / "image.nii.gz"), MaskOptions())

    assert (reader.read(MaskFile(tmp_path / "mask.nii.gz")) == drawn()).all()
