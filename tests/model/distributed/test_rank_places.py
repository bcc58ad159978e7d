from types import SimpleNamespace

import pytest
import torch

from volseg.errors import UserError
from volseg.model.distributed import process_group
from volseg.model.distributed.rank_places import RankPlace, check_places, own_place


def place(host: str, gpu: str) -> RankPlace:
    return RankPlace(host, (0, 1), gpu)


@pytest.fixture
def gpus(monkeypatch) -> list[str]:
    """The hardware ids of the GPUs that this process sees."""
    seen: list[str] = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(seen))
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid=seen[device.index])
    )
    return seen


def started(monkeypatch, rank: int, count: int) -> RankPlace:
    """The place of a rank of one machine."""
    for name in ("RANK", "LOCAL_RANK"):
        monkeypatch.setenv(name, str(rank))
    monkeypatch.setenv("WORLD_SIZE", str(count))
    return own_place(process_group.rank_gpu())


def test_each_rank_has_its_gpu(monkeypatch, gpus: list[str]) -> None:
    gpus += ["a", "b"]
    places = [started(monkeypatch, rank, 2) for rank in range(2)]

    check_places(places)

    assert [place.gpu for place in places] == ["a", "b"]


def test_more_ranks_than_gpus_are_refused(monkeypatch, gpus: list[str]) -> None:
    gpus += ["a", "b"]
    places = [started(monkeypatch, rank, 4) for rank in range(4)]

    with pytest.raises(
        UserError, match=r"ranks 0, 2 of 4 would share a GPU: .* has 2 GPUs for 4 ranks; start"
    ):
        check_places(places)


def test_tasks_of_slurm_that_see_one_gpu_each_are_none_on_the_same(monkeypatch, gpus: list[str]) -> None:
    places = []
    for rank, own in enumerate("abc"):
        gpus[:] = [own]
        places.append(started(monkeypatch, rank, 3))

    check_places(places)

    gpus[:] = ["a"]
    with pytest.raises(UserError, match="ranks 0, 2 of 3 would share a GPU"):
        check_places([*places[:2], started(monkeypatch, 2, 3)])


def test_gpus_of_two_machines_are_two() -> None:
    check_places([place("one", "a"), place("two", "a")])


def test_ranks_on_cpus_share_what_they_like() -> None:
    check_places([place("one", "")] * 4)


def test_a_rank_without_a_gpu_beside_others_is_refused() -> None:
    with pytest.raises(
        UserError, match=r"rank 1 of 3 without a GPU, beside others .*; give each rank a GPU, or all --de"
    ):
        check_places([place("one", "a"), place("one", ""), place("one", "b")])
