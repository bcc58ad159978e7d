import numpy as np
import pytest
import torch

from tests.inference.test_sliding_window import joined, view, whole
from tests.model.networks.test_networks import SMALL
from volseg.inference.sliding_window import accumulate_windows
from volseg.inference.tiling import Tiling
from volseg.model.engines.interface import STEPS
from volseg.model.engines.torch import TorchNetwork
from volseg.model.engines.torch_device import Device
from volseg.model.networks import UNet25D, slice_network
from volseg.model.networks.slice_network import stack_neighbours
from volseg.system.timing import StepTimer

pytestmark = pytest.mark.slow
REACHING = {name: one for name, one in SMALL.items() if any(one.reach)}


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    torch.manual_seed(0)
    made = SMALL["unet25d"].build(1, 3).eval()
    for values in made.parameters():
        if values.ndim == 1:
            torch.nn.init.normal_(values, 0.3, 0.3)
    return made


def image(depth: int, channels: int = 1) -> torch.Tensor:
    return torch.randn(1, channels, 64, 32, depth, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", REACHING)
def test_a_slice_beyond_the_reach_has_no_influence_and_those_within_have(name: str) -> None:
    reach = SMALL[name].reach[2]
    made, scan = SMALL[name].build(1, 3).eval(), image(12)

    with torch.inference_mode():
        before = made(scan)
        scan[..., 7] += 1
        changed = (made(scan) != before).any(dim=1).flatten(0, 2).any(dim=0)

    assert not changed[: 7 - reach].any()
    assert not changed[7 + reach + 1 :].any()
    assert changed[7]
    assert changed[[7 - reach, 7 + reach]].any()


def test_the_reach_is_that_of_the_farthest_slice() -> None:
    assert UNet25D().reach == (0, 0, 2)
    assert UNet25D(offsets=(-3, 0, 1)).reach == (0, 0, 3)
    assert UNet25D(offsets=(0,)).reach == (0, 0, 0)


def test_slices_and_their_neighbours_are_stacked_as_by_hand() -> None:
    """By hand: of slices 0, 1 and 2 with those at -2, 0 and 1, clamped to the scan."""
    scan = image(3, channels=2)

    stacks = stack_neighbours(torch.cat([scan, scan + 1]), torch.tensor([-2, 0, 1]))

    seen = [(0, 0, 1), (0, 1, 2), (0, 2, 2)]
    expected = [torch.stack([scan[0, c, ..., z] for c in (0, 1) for z in slices]) for slices in seen]
    assert torch.equal(stacks, torch.stack([*expected, *(one + 1 for one in expected)]))


def test_a_volume_is_predicted_as_its_slices_are_one_by_one(network) -> None:
    scan = image(4)
    seen = [(0, 0, 1), (0, 1, 2), (0, 2, 3), (1, 3, 3)]
    with torch.inference_mode():
        found = network(scan)
        flat = [super(type(network), network).forward(scan[:, 0, ..., z].permute(0, 3, 1, 2)) for z in seen]

    torch.testing.assert_close(found, torch.stack(flat, dim=-1), rtol=1e-4, atol=1e-5)


def test_chunks_of_slices_are_the_whole(network, monkeypatch) -> None:
    scan = image(7)
    with torch.inference_mode():
        expected = network(scan)
        monkeypatch.setattr(slice_network, "AT_ONCE", 3)
        found = network(scan)

    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("depth", [1, 3, 21])
def test_windows_find_what_the_whole_scan_shows(network, depth) -> None:
    scan, shape = image(depth), (64, 32, depth)
    by_windows = TorchNetwork(network, Device(torch.device("cpu"), torch.float32))
    tiling = Tiling(shape, whole(shape), (64, 32, 8), 0.5, reach=2)
    voxels = view(scan[0].sigmoid().numpy())
    seen = torch.from_numpy(voxels.read_box(whole(shape)).copy())

    found = joined(accumulate_windows(voxels, tiling, by_windows, StepTimer())) / STEPS

    with torch.inference_mode():
        expected = network(seen[None])[0].numpy()
    assert np.abs(found - expected).max() <= 1 / STEPS
    assert expected.std() > 0.01
