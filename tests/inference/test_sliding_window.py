from collections.abc import Iterator
from math import prod

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from volseg.data.preprocessing.grid import NetworkInput
from volseg.data.preprocessing.intensity_scaling import Window
from volseg.data.volume import Volume
from volseg.errors import UserError
from volseg.inference.predictor import MirroredNetwork
from volseg.inference.sliding_window import accumulate_windows, padded_box
from volseg.inference.tiling import Tiling
from volseg.model.engines.interface import LARGEST, STEPS, NumpyArrays, weighted_logits
from volseg.model.engines.torch import TorchNetwork
from volseg.model.engines.torch_device import Device
from volseg.system.timing import StepTimer

sizes = st.tuples(*[st.integers(1, 20)] * 3)
windows = st.tuples(*[st.sampled_from([4, 6, 8])] * 3)
overlaps = st.sampled_from([0.0, 0.25, 0.5, 0.7, 0.9])


class Same:
    """Returns each channel as a class; `ahead` windows are asked for before the first is returned."""

    arrays = NumpyArrays()

    def __init__(self, ahead: int = 1, factor: float = 1.0) -> None:
        self.ahead, self.factor, self.seen = ahead, factor, 0

    def parts(self, windows: Iterator) -> Iterator:
        held = []
        for image, weight in windows:
            self.seen += 1
            held.append(weighted_logits(image * np.float32(self.factor), weight))
            if len(held) >= self.ahead:
                yield held.pop(0)
        yield from held


def view(voxels: np.ndarray) -> NetworkInput:
    channels = [Volume(channel, np.diag([-1.0, -1, -1, 1])) for channel in voxels]
    return NetworkInput.from_channels(channels, None, Window(low=0, high=1))


def boxes(draw, shape) -> tuple[slice, slice, slice]:
    ends = [sorted((draw(st.integers(0, n - 1)), draw(st.integers(1, n)))) for n in shape]
    x, y, z = (slice(a, max(a + 1, b)) for a, b in ends)
    return x, y, z


def whole(shape) -> tuple[slice, slice, slice]:
    x, y, z = (slice(0, n) for n in shape)
    return x, y, z


def joined(layers) -> np.ndarray:
    """All layers, which must follow on each other."""
    parts, reached = [], 0
    for begun, sums in layers:
        assert begun == reached
        reached += sums.shape[3]
        parts.append(sums.copy())
    return np.concatenate(parts, axis=3)


@given(st.data(), sizes, windows, overlaps, st.integers(1, 5))
def test_an_identity_network_returns_its_input_whatever_the_box(data, shape, window, overlap, ahead) -> None:
    voxels = np.random.default_rng(0).random((2, *shape)).astype(np.float32)
    box = boxes(data.draw, shape)
    tiling = Tiling(shape, box, window, overlap)

    found = joined(accumulate_windows(view(voxels), tiling, Same(ahead), StepTimer())) / STEPS

    assert found.shape == (2, *(side.stop - side.start for side in box))
    covering = prod(int((side.weights > 0).sum(axis=0).max() + 1) for side in tiling.axis_tilings)
    assert np.abs(found - voxels[:, *box]).max() <= 0.5 * max(27, covering) / STEPS + 1e-6


@pytest.mark.parametrize("even", [True, False])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.75, 0.76, 0.85, 0.9, 0.94])
@pytest.mark.parametrize("logit", [-31.0, 1.0, -0.1])
def test_a_constant_network_gives_its_logit_at_any_overlap(even, overlap, logit) -> None:
    """Of a thousand windows over a voxel most add less than half a step each, and yet something in all."""

    class Constant:
        arrays = NumpyArrays()

        def parts(self, windows: Iterator) -> Iterator:
            for image, weight in windows:
                yield weighted_logits(np.full_like(image, logit), weight)

    shape, window = (26, 22, 20), (16, 16, 16)
    tiling = Tiling(shape, whole(shape), window, overlap, even=even)
    scan = view(np.zeros((1, *shape), np.float32))

    found = joined(accumulate_windows(scan, tiling, Constant(), StepTimer()))

    assert found.dtype == np.int16
    np.testing.assert_allclose(found / STEPS, logit, rtol=0.01, atol=0.025)


@given(sizes, windows, overlaps)
def test_the_result_does_not_depend_on_how_many_windows_are_in_work(shape, window, overlap) -> None:
    voxels = np.random.default_rng(1).random((1, *shape)).astype(np.float32)
    tiling = Tiling(shape, whole(shape), window, overlap)

    one, many = (joined(accumulate_windows(view(voxels), tiling, Same(n), StepTimer())) for n in (1, 4))

    assert np.array_equal(one, many)


@given(sizes, windows, overlaps)
def test_the_windows_are_as_many_as_are_told(shape, window, overlap) -> None:
    tiling = Tiling(shape, whole(shape), window, overlap)
    network = Same()

    joined(accumulate_windows(view(np.zeros((1, *shape), np.float32)), tiling, network, StepTimer()))

    assert network.seen == tiling.window_count


@given(sizes, st.tuples(*[st.integers(-5, 22)] * 3), st.tuples(*[st.integers(1, 9)] * 3))
def test_beyond_the_scan_a_network_sees_zeros(shape, begin, size) -> None:
    voxels = np.random.default_rng(0).random((2, *shape)).astype(np.float32) + 1
    begin = np.clip(begin, 1 - np.array(size), np.array(shape) - 1)  # a window that holds some of the scan
    box = tuple(slice(int(first), int(first) + n) for first, n in zip(begin, size, strict=True))

    found = padded_box(view(voxels / 2), box)

    around = np.pad(voxels / 2, [(0, 0), *[(9, 9)] * 3])
    shifted = tuple(slice(9 + side.start, 9 + side.stop) for side in box)
    assert np.array_equal(found, around[:, *shifted])


def test_logits_are_averaged_by_a_gaussian() -> None:
    """By hand: a window of 4 over 6 voxels starts at 0 and 2; the second says 1, the first 0."""

    class Second:
        arrays = NumpyArrays()

        def parts(self, windows: Iterator) -> Iterator:
            for number, (image, weight) in enumerate(windows):
                yield weighted_logits(np.full_like(image, number), weight)

    tiling = Tiling((6, 1, 1), whole((6, 1, 1)), (4, 1, 1), 0.5)
    found = joined(
        accumulate_windows(view(np.zeros((1, 6, 1, 1), np.float32)), tiling, Second(), StepTimer())
    )

    near, far = np.exp(-0.5 * np.array([0.5, 1.5]) ** 2 / 0.5**2)
    expected = [0, 0, far / (far + near), near / (far + near), 1, 1]
    assert np.allclose(found[0, :, 0, 0] / STEPS, expected, atol=1.5 / STEPS)


class Neighbours:
    """Each slice and both neighbours at a distance, as classes; a window's own ends are clamped."""

    arrays = NumpyArrays()

    def __init__(self, reach: int) -> None:
        self.reach = reach

    def parts(self, windows: Iterator) -> Iterator:
        for image, weight in windows:
            yield weighted_logits(neighbours(image[0], self.reach), weight)


def neighbours(voxels: np.ndarray, reach: int) -> np.ndarray:
    """Slice by slice: the slice itself, and those `reach` before and behind it, clamped to the ends."""
    depth = voxels.shape[2]
    stacks = [[max(0, z - reach), z, min(depth - 1, z + reach)] for z in range(depth)]
    return np.stack([voxels[:, :, stack] for stack in stacks], axis=2).transpose(3, 0, 1, 2)


@pytest.mark.parametrize("even", [True, False])
@pytest.mark.parametrize("depth", [1, 2, 3, 80, 144])
@given(overlap=overlaps, reach=st.integers(1, 3), deeper=st.integers(1, 12), data=st.data())
@settings(max_examples=10)
def test_a_slice_is_never_predicted_without_its_true_neighbours(
    even, depth, overlap, reach, deeper, data
) -> None:
    """The stacks of neighbours that windows with a halo show are those of the whole scan."""
    shape = (5, 7, depth)
    voxels = np.random.default_rng(0).random((1, *shape)).astype(np.float32)
    box = boxes(data.draw, shape)
    tiling = Tiling(shape, box, (4, 4, 2 * reach + deeper), overlap, even=even, reach=reach)

    found = joined(accumulate_windows(view(voxels), tiling, Neighbours(reach), StepTimer())) / STEPS

    covering = 0.5 * max(27, (4 / (4 * (1 - overlap))) ** 2 * 4)
    assert np.abs(found - neighbours(voxels[0], reach)[:, *box]).max() <= covering / STEPS + 1e-6


class Slanted:
    """Logits that depend on the image and on the place in the window, so that weights show."""

    arrays = NumpyArrays()

    def __call__(self, image):
        return image * 2 + torch.as_tensor(self.ramp(image.shape[2:]))

    def ramp(self, shape) -> np.ndarray:
        x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
        return (x + 2 * y * z).astype(np.float32)

    def parts(self, windows: Iterator) -> Iterator:
        for image, weight in windows:
            yield weighted_logits(image * 2 + self.ramp(image.shape[1:]), weight)


@given(sizes, windows, overlaps)
def test_windows_that_are_not_even_are_monais(shape, window, overlap) -> None:
    """Placed, padded and weighted as by its `sliding_window_inference`, the reference."""
    from monai.inferers import sliding_window_inference

    voxels = np.random.default_rng(2).random((1, *shape)).astype(np.float32)
    tiling = Tiling(shape, whole(shape), window, overlap, even=False)
    expected = sliding_window_inference(
        torch.from_numpy(voxels)[None], window, 2, Slanted(), overlap, "gaussian", 0.125
    )[0]

    found = joined(accumulate_windows(view(voxels), tiling, Slanted(), StepTimer())) / STEPS

    covering = prod(max(np.bincount(np.ravel([np.arange(s, s + side.window) - side.full_range.start
        for s in side.starts]))) for side in tiling.axis_tilings)  # fmt: skip
    assert np.abs(found - expected.numpy()).max() <= 0.5 * covering / STEPS + 1e-4


class SlantedModule(nn.Module):
    """The same logits by torch, of two classes."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.cat([Slanted()(image), -image], dim=1)


class Reference(Slanted):
    """The same by numpy."""

    def parts(self, windows: Iterator) -> Iterator:
        for image, weight in windows:
            logits = np.concatenate([image * 2 + self.ramp(image.shape[1:]), -image])
            yield weighted_logits(logits, weight)


flips = st.sampled_from([(), (0,), (1, 2), (0, 1, 2)])


@st.composite
def tilings(draw) -> Tiling:
    shape = draw(sizes)
    reach = draw(st.integers(0, 1))
    return Tiling(shape, boxes(draw, shape), draw(windows), draw(overlaps), draw(st.booleans()), reach)


@given(tilings(), flips, st.sampled_from([1, 3, 4]))
def test_sums_by_torch_are_the_references_bit_for_bit(tiling, axes, batch) -> None:
    """Scans smaller than the window, boxes at edges, wide sums, MONAI's windows, mirrored views."""
    voxels = np.random.default_rng(3).random((1, *tiling.shape)).astype(np.float32)
    by_torch = TorchNetwork(SlantedModule(), Device(torch.device("cpu"), torch.float32), batch)

    expected, found = (
        joined(accumulate_windows(view(voxels), tiling, MirroredNetwork(one, axes), StepTimer()))
        for one in (Reference(), by_torch)
    )

    assert found.dtype == np.int16
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("factor", [1e9, -1e9])
def test_huge_logits_are_certain_and_do_not_overflow(factor: float) -> None:
    ones = np.ones((1, 12, 12, 12), np.float32)
    tiling = Tiling((12, 12, 12), whole((12, 12, 12)), (8, 8, 8), 0.7)

    found = joined(accumulate_windows(view(ones), tiling, Same(factor=factor), StepTimer()))

    assert np.allclose(found / STEPS, np.sign(factor) * LARGEST, atol=0.05)


@pytest.mark.parametrize("wrong", [np.inf, -np.inf, np.nan])
def test_logits_that_are_not_finite_are_refused(wrong: float) -> None:
    class Broken(Same):
        def parts(self, windows: Iterator) -> Iterator:
            for image, weight in windows:
                logits = np.where(np.arange(image.size).reshape(image.shape) == 7, wrong, image)
                yield weighted_logits(logits, weight)

        def __str__(self) -> str:
            return "torch, cpu (2 threads), float16"

    tiling = Tiling((8, 8, 8), whole((8, 8, 8)), (8, 8, 8), 0.5)

    with pytest.raises(UserError, match=r"is not finite by torch, cpu \(2 threads\), float16"):
        joined(accumulate_windows(view(np.zeros((1, 8, 8, 8), np.float32)), tiling, Broken(), StepTimer()))
