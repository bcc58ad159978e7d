import pytest
import torch
from torch import nn

from volseg.model.distributed.sync_batch_norm import _SyncBatchNorm, convert_sync_batch_norm

CLASSES = {"cpu": _SyncBatchNorm, "cuda": nn.SyncBatchNorm}


def network() -> nn.Sequential:
    torch.manual_seed(0)
    norm = nn.BatchNorm3d(3, momentum=0.3)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.running_mean)
    return nn.Sequential(nn.Conv3d(1, 3, 3), norm, nn.Sequential(nn.BatchNorm3d(3), nn.InstanceNorm3d(3)))


@pytest.mark.parametrize("kind", CLASSES)
def test_batch_norms_become_those_of_all_ranks_with_their_weights_and_settings(kind: str) -> None:
    before, converted = network(), network()
    weights = list(converted.parameters())

    convert_sync_batch_norm(converted, torch.device(kind))

    assert type(converted[1]) is type(converted[2][0]) is CLASSES[kind]
    assert type(converted[2][1]) is nn.InstanceNorm3d
    assert all(one is other for one, other in zip(weights, converted.parameters(), strict=True))
    assert converted.state_dict().keys() == before.state_dict().keys()
    for one, other in zip(converted.state_dict().values(), before.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    assert converted[1].momentum == 0.3


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("training", [False, True])
def test_in_a_single_process_a_converted_network_says_the_same(kind: str, training: bool) -> None:
    before, converted = network().train(training), network().train(training)
    convert_sync_batch_norm(converted, torch.device(kind))
    image = torch.randn(2, 1, 6, 6, 6)

    torch.testing.assert_close(converted(image), before(image), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(converted.state_dict(), before.state_dict(), rtol=1e-5, atol=1e-5)
