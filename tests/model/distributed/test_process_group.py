from pathlib import Path

import pytest
import torch
from torch import distributed, multiprocessing, nn
from torch.nn.parallel import DistributedDataParallel

from tests.model.losses.test_losses import LOSSES, case
from volseg.model.distributed.process_group import all_reduce_sum

pytestmark = pytest.mark.slow

RANKS = 2
SHARES = {"evenly": [(0, 2), (2, 4)], "one more": [(0, 3), (3, 4)], "all": [(0, 4), (4, 4)]}
"""Which of four patches each rank holds."""


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Conv3d(1, 3, 3, padding=1)


def batch(*, exclusive: bool) -> tuple[torch.Tensor, torch.Tensor]:
    parts = [case(seed, exclusive=exclusive, ignored=0.2) for seed in (7, 8)]
    labels = torch.cat([labels for _, labels in parts])
    return torch.cat([logits for logits, _ in parts])[:, :1], labels


def learnt(model: nn.Module, *, loss, exclusive: bool, share: slice) -> list[torch.Tensor]:
    """The loss of a share of the batch, and the gradient of the weights."""
    images, labels = batch(exclusive=exclusive)
    model.zero_grad()
    value = loss(model(images[share]), labels[share], exclusive=exclusive)
    value.backward()
    return [value.detach(), *(weight.grad.clone() for weight in model.parameters())]


def every_case() -> list[dict]:
    return [{"loss": loss, "exclusive": exclusive} for loss in LOSSES for exclusive in (False, True)]


def work(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    file = (folder / "meeting").as_uri()
    distributed.init_process_group("gloo", init_method=file, rank=rank, world_size=RANKS)
    model = DistributedDataParallel(network())
    found = {
        (name, number): learnt(model, share=slice(*shares[rank]), **one)
        for name, shares in SHARES.items()
        for number, one in enumerate(every_case())
    }
    torch.save(found, folder / f"{rank}.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory) -> list[dict]:
    """What each of two processes found: by share and case, loss and gradients."""
    folder = tmp_path_factory.mktemp("ranks")
    multiprocessing.spawn(work, (folder,), nprocs=RANKS)
    return [torch.load(folder / f"{rank}.pt") for rank in range(RANKS)]


@pytest.mark.parametrize("name", SHARES)
@pytest.mark.parametrize("number", range(len(every_case())), ids=lambda n: str(every_case()[n]))
def test_loss_and_gradients_are_those_of_one_process_with_the_whole_batch(
    ranks: list[dict], name: str, number: int
) -> None:
    alone = learnt(network(), share=slice(0, 4), **every_case()[number])

    for found in ranks:
        for ours, theirs in zip(found[name, number], alone, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


def test_alone_a_sum_is_itself() -> None:
    total = torch.ones(3)

    assert all_reduce_sum(total) is total
