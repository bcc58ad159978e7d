import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from volseg.config.config import validate_values
from volseg.planning.network_design import (
    BATCH,
    HALVED,
    LARGEST_BATCH,
    MOST_ELEMENTS,
    candidate_designs,
    design_network,
    level_kernels,
    level_strides,
)

pytestmark = pytest.mark.slow

KINDS = ["unet", "dynunet", "resenc", "mednext", "segresnet", "swinunetr", "unet25d"]
SHAPES = st.tuples(*[st.integers(3, 300)] * 3)
SPACINGS = st.tuples(*[st.sampled_from([0.5, 0.7, 1.0, 1.5, 3.0, 5.0])] * 3)


def rungs(kind, shape, spacing, most=10**6):
    return candidate_designs(kind, shape, spacing, narrow=True, most=most)


@pytest.mark.parametrize("kind", KINDS)
@given(shape=SHAPES, spacing=SPACINGS)
def test_every_design_is_a_config_and_no_larger_than_the_scan_rounded_up(kind, shape, spacing):
    found = rungs(kind, shape, spacing)
    larger = kind in ("mednext", "swinunetr", "unet25d")  # their stride or reach, than small scans
    for one in found:
        validate_values({"network": one.network.model_dump(), "train": {"patch": one.patch}}, "design")
        assert all(p % s == 0 for p, s in zip(one.patch, one.network.stride, strict=True))
        limits = zip(one.patch, shape, found[0].network.stride, strict=True)
        assert larger or all(p < n + s for p, n, s in limits)


@pytest.mark.parametrize("kind", KINDS)
@given(shape=SHAPES, spacing=SPACINGS)
def test_designs_become_smaller_from_one_to_the_next_and_batches_first(kind, shape, spacing):
    found = rungs(kind, shape, spacing)

    voxels = [one.batch_voxels for one in found]
    assert voxels == sorted(set(voxels), reverse=True)
    assert all(BATCH <= one.batch <= LARGEST_BATCH for one in found)
    assert all(one.batch == BATCH for one in found if one.patch != found[0].patch)


def test_a_batch_grows_to_the_stated_share_of_all_voxels():
    whole = math.prod((40, 56, 40))
    assert [one.batch for one in rungs("unet", (40, 56, 40), (1, 1, 1), most=4 * whole)][:3] == [4, 3, 2]
    assert rungs("unet", (40, 56, 40), (1, 1, 1), most=whole)[0].batch == BATCH


@given(patch=SHAPES, spacing=SPACINGS)
def test_an_axis_is_never_halved_below_half_of_the_smallest_that_may_be(patch, spacing):
    steps = level_strides(patch, spacing)

    for axis in range(3):
        left = patch[axis] / math.prod(step[axis] for step in steps)
        assert left == patch[axis] or left > HALVED / 2 - 1


@given(patch=SHAPES)
def test_a_coarse_axis_is_not_halved_until_the_others_are_as_coarse(patch):
    steps = level_strides(patch, (1.0, 1.0, 4.0))
    fine = max(patch[0], patch[1])

    if fine >= HALVED:
        assert steps[0][2] == 1
    if fine >= 2 * HALVED:
        assert steps[1][2] == 1
    if min(patch) >= 4 * HALVED:  # by hand: 1, 1, 4 -> 2, 2, 4 -> 4, 4, 4
        assert [step[2] for step in steps[:3]] == [1, 1, 2]


def test_halvings_of_the_competitions_scans_are_those_worked_out_by_hand():
    # 266 -> 133 -> 67 -> 34 -> 17 -> 9; 144 stays once (3 mm beside 1.5 mm) -> 72 -> 36 -> 18 -> 9
    assert level_strides((266, 266, 144), (1.5, 1.5, 3.0)) == ((2, 2, 1), *[(2, 2, 2)] * 4)
    # 20 slices of 5 mm beside 0.7 mm: at 2.8 mm they join in, 20 -> 10 -> 5
    assert level_strides((512, 512, 20), (0.7, 0.7, 5.0)) == (
        (2, 2, 1), (2, 2, 1), (2, 2, 2), (2, 2, 2), (2, 2, 1)
    )  # fmt: skip


def test_kernels_of_the_competitions_scans_are_those_worked_out_by_hand():
    # 3 mm beside 1.5 mm: no kernel along z at full resolution, then voxels are cubes
    strides = level_strides((266, 266, 144), (1.5, 1.5, 3.0))
    assert level_kernels((1.5, 1.5, 3.0), strides) == ((3, 3, 1), *[(3, 3, 3)] * 5)
    # 5 mm beside 0.7, 1.4 and 2.8 mm: along z from the third level on
    strides = level_strides((512, 512, 20), (0.7, 0.7, 5.0))
    assert level_kernels((0.7, 0.7, 5.0), strides) == ((3, 3, 1), (3, 3, 1), *[(3, 3, 3)] * 4)


@given(patch=SHAPES, spacing=SPACINGS)
def test_a_kernel_never_shrinks_from_level_to_level_and_the_finest_axis_has_one(patch, spacing):
    strides = level_strides(patch, spacing)
    kernels = level_kernels(spacing, strides)

    assert len(kernels) == len(strides) + 1
    assert all(a <= b for one, other in itertools.pairwise(kernels) for a, b in zip(one, other, strict=True))
    assert all(max(kernel) == 3 for kernel in kernels)


@pytest.mark.parametrize("kind", KINDS)
def test_narrow_networks_have_half_the_channels(kind):
    wide, narrow = (design_network(kind, (64, 64, 64), (1, 1, 1), narrow=n).network for n in (False, True))
    of_others = {"unet": "channels", "swinunetr": "feature_size", "unet25d": "decoder"}
    width = of_others.get(kind, "filters")

    assert narrow.stride == wide.stride
    one, other = getattr(wide, width), getattr(narrow, width)
    assert one == (tuple(2 * n for n in other) if isinstance(other, tuple) else 2 * other)


@pytest.mark.parametrize("kind", ["unet", "dynunet", "resenc"])
def test_channels_double_up_to_ten_times_the_first(kind):
    network = design_network(kind, (256, 256, 256), (1, 1, 1), narrow=False).network
    channels = network.channels if kind == "unet" else network.filters

    assert channels == (32, 64, 128, 256, 320, 320)


class Largest(TorchDispatchMode):
    """The elements of the largest tensor that was made."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for one in made if isinstance(made, tuple | list) else [made]:
            self.elements = max(self.elements, one.numel() if isinstance(one, torch.Tensor) else 0)
        return made


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(64, 64, 64), (128, 32, 64)])
def test_no_tensor_of_a_step_has_more_elements_than_a_design_says(kind, size):
    design = design_network(kind, size, (1, 1, 1), narrow=False)
    network = design.network.build(1, 3).to("meta").train()  # shapes only

    with Largest() as seen:
        made = network(torch.empty(design.batch, 1, *design.patch, device="meta"))
        sum(logits.sum() for logits in (made if isinstance(made, tuple) else (made,))).backward()

    assert seen.elements <= design.most_elements <= 8 * seen.elements


@pytest.mark.parametrize("kind", KINDS)
def test_large_scans_on_a_large_gpu_give_no_tensor_that_needs_64_bits(kind):
    whole = design_network(kind, (512, 512, 400), (1, 1, 1), narrow=False)
    assert whole.most_elements > 2**31

    found = rungs(kind, (512, 512, 400), (1, 1, 1), most=10**10)

    assert all(one.most_elements <= MOST_ELEMENTS < 2**31 for one in found)
    assert found[0].most_elements > MOST_ELEMENTS / 2
