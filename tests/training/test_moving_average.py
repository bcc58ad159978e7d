import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from volseg.training.moving_average import MovingAverage

pytestmark = pytest.mark.slow


def test_it_is_the_weighted_mean_of_all_weights_so_far() -> None:
    """Against the recursion in plain Python: a' = d a + (1 - d) w, d = min(decay, (1 + n) / (10 + n))."""
    network = nn.Linear(1, 1, bias=False)
    followed = MovingAverage(network, 0.9)
    expected = None
    for update in range(120):
        value = float(torch.sin(torch.tensor(update)))
        nn.init.constant_(network.weight, value)
        followed.update(network, torch.ones(()))
        decay = min(0.9, (1 + update) / (10 + update))
        expected = value if expected is None else decay * expected + (1 - decay) * value

        assert followed.module.weight.item() == pytest.approx(expected, abs=1e-6)


def test_buffers_follow_too_and_counters_are_copied() -> None:
    network = nn.BatchNorm3d(1)
    followed = MovingAverage(network, 0.5)

    for _ in range(30):
        network(torch.full((1, 1, 2, 2, 2), 3.0))
        followed.update(network, torch.ones(()))

    assert followed.module.num_batches_tracked == 30
    assert 2.5 < followed.module.running_mean.item() < 3


def test_the_network_itself_is_left_alone() -> None:
    network = nn.Linear(2, 2)
    before = network.weight.clone()

    MovingAverage(network, 0.9).update(network, torch.ones(()))

    assert torch.equal(network.weight, before)


def test_a_step_that_changes_nothing_leaves_it_as_it_was_bit_for_bit() -> None:
    network = nn.BatchNorm3d(2)
    followed = MovingAverage(network, 0.9)
    for _ in range(3):
        network(torch.randn(2, 2, 3, 3, 3))
        followed.update(network, torch.ones(()))
        network.weight.data.normal_()
    before = {name: value.clone() for name, value in followed.module.state_dict().items()}

    followed.update(network, torch.zeros(()))

    assert all(torch.equal(value, before[name]) for name, value in followed.module.state_dict().items())


def test_it_goes_on_from_the_checkpoint_of_torchs_averaged_model() -> None:
    """What versions before this one wrote."""
    torch.manual_seed(0)
    network = nn.BatchNorm3d(2)
    theirs = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.1), use_buffers=True)
    for _ in range(2):
        network.weight.data.normal_()
        theirs.update_parameters(network)
    ours = MovingAverage(network, 0.1)  # at most 0.1, which is less than 2 / 11

    ours.load_state_dict(theirs.state_dict())
    network.weight.data.normal_()
    ours.update(network, torch.ones(()))
    theirs.update_parameters(network)

    assert ours.state_dict().keys() == theirs.state_dict().keys()
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value)
