import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from volseg.arrays import IGNORE
from volseg.model.networks.slice_network import stack_neighbours
from volseg.training.augmentation.patch_frame import PatchFrame
from volseg.training.augmentation.slice_ends import complete_ends

SIZE = (2, 3)


def cut_from(scan: torch.Tensor, start: int, depth: int) -> torch.Tensor:
    """Slices of a scan (C, X, Y, Z) from `start` on, zeros beyond it."""
    planes = range(start, start + depth)
    inside = range(scan.shape[3])
    return torch.stack([scan[..., z] if z in inside else torch.zeros(scan.shape[:3]) for z in planes], dim=3)


@given(st.integers(1, 14), st.integers(1, 8), st.integers(0, 3), st.data())
def test_slices_that_count_see_in_a_patch_what_they_see_in_the_whole_scan(depth, size, reach, data) -> None:
    room = depth - size
    start = data.draw(st.integers(0, room)) if room >= 0 else -(-room // 2)
    scan = torch.randn(1, *SIZE, depth, generator=torch.Generator().manual_seed(0))
    image, label = cut_from(scan, start, size), torch.zeros(2, *SIZE, size, dtype=torch.uint8)

    complete_ends(PatchFrame((0, 0, start), (*SIZE, size)), depth, reach, image=image, label=label)

    offsets = torch.arange(-reach, reach + 1)
    in_patch, in_scan = stack_neighbours(image[None], offsets), stack_neighbours(scan[None], offsets)
    counted = [z for z in range(size) if (label[..., z] != IGNORE).all()]
    for z in counted:
        assert torch.equal(in_patch[z], in_scan[start + z])
    shows_all = range(max(0, start), min(depth, start + size))
    assert counted == [
        z - start
        for z in shows_all
        if all(max(0, z - reach) <= one < start + size or one >= depth for one in range(z, z + reach + 1))
        and all(one >= start or one < 0 for one in range(z - reach, z))
    ]


@pytest.mark.parametrize(
    ("start", "depth", "counted"),
    [
        (0, 14, [0, 1, 2, 3]),
        (4, 14, [2, 3]),
        (8, 14, [2, 3, 4, 5]),
        (-1, 14, [1, 2, 3]),
        (-2, 2, [2, 3]),
        (9, 9, []),
    ],
)
def test_ends_worked_out_by_hand(start: int, depth: int, counted: list[int]) -> None:
    """Of six slices and a reach of two; the last patch lies beyond its scan."""
    image, label = torch.zeros(1, *SIZE, 6), torch.zeros(1, *SIZE, 6, dtype=torch.uint8)

    complete_ends(PatchFrame((0, 0, start), (*SIZE, 6)), depth, 2, image=image, label=label)

    assert [z for z in range(6) if (label[..., z] == 0).all()] == counted


def test_a_zoom_moves_the_ends() -> None:
    """By hand: of slices 1.6 apart, the middle one at 1, a scan of four has those at 1 and 2.6."""
    frame = PatchFrame((0, 0, -1), (*SIZE, 5), np.diag([1.0, 1, 1.6]))
    image = torch.arange(5.0).expand(1, *SIZE, 5).clone()
    label = torch.zeros(1, *SIZE, 5, dtype=torch.uint8)

    complete_ends(frame, 4, 1, image=image, label=label)

    assert image[0, 0, 0].tolist() == [2, 2, 2, 3, 3]
    assert label[0, 0, 0].tolist() == [IGNORE, IGNORE, 0, 0, IGNORE]
