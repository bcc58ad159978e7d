import pytest
import torch
from torch import nn

from volseg.training.state import moving_average

pytestmark = pytest.mark.slow


def test_it_is_the_weighted_mean_of_all_weights_so_far() -> None:
    """Against the recursion in plain Python: a' = d a + (1 - d) w, d = min(decay, (1 + n) / (10 + n))."""
    network = nn.Linear(1, 1, bias=False)
    followed = moving_average(network, 0.9)
    expected = None
    for update in range(120):
        value = float(torch.sin(torch.tensor(update)))
        nn.init.constant_(network.weight, value)
        followed.update_parameters(network)
        decay = min(0.9, (1 + update) / (10 + update))
        expected = value if expected is None else decay * expected + (1 - decay) * value

        assert followed.module.weight.item() == pytest.approx(expected, abs=1e-6)


def test_buffers_follow_too_and_counters_are_copied() -> None:
    network = nn.BatchNorm3d(1)
    followed = moving_average(network, 0.5)

    for _ in range(30):
        network(torch.full((1, 1, 2, 2, 2), 3.0))
        followed.update_parameters(network)

    assert followed.module.num_batches_tracked == 30
    assert 2.5 < followed.module.running_mean.item() < 3


def test_the_network_itself_is_left_alone() -> None:
    network = nn.Linear(2, 2)
    before = network.weight.clone()

    moving_average(network, 0.9).update_parameters(network)

    assert torch.equal(network.weight, before)
