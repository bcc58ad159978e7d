import pytest

from tests import tiny
from volseg.model.networks import SwinUNETR
from volseg.training.memory_advice import memory_advice, next_part_count


@pytest.mark.parametrize(
    ("batch", "parts", "ranks", "expected"),
    [(4, 1, 1, 2), (4, 2, 1, 4), (4, 4, 1, None), (1, 1, 1, None), (6, 2, 1, 3), (6, 1, 2, 2),
     (6, 3, 2, None), (9, 1, 1, 3), (9, 1, 2, 3), (9, 3, 2, None)],
)  # fmt: skip
def test_the_next_parts_divide_the_batch_and_leave_each_rank_a_patch(batch, parts, ranks, expected) -> None:
    assert next_part_count(batch, parts, ranks=ranks) == expected


def changed(network=None, **settings):
    config = tiny.config()
    update = {"train": config.train.model_copy(update={"patch": (32, 32, 16), **settings})}
    return config.model_copy(update=update | ({"network": network} if network else {}))


@pytest.mark.parametrize(
    ("config", "advice"),
    [
        (changed(batch=4), "train.accumulate=2 or a train.patch smaller than 32x32x16"),
        (changed(batch=1), "a train.patch smaller than 32x32x16"),
        (changed(SwinUNETR(), batch=1), "network.use_checkpoint=true or a train.patch smaller than 32x32x16"),
        (changed(SwinUNETR(use_checkpoint=True), batch=1), "a train.patch smaller than 32x32x16"),
        (changed(SwinUNETR(), batch=2),
         "train.accumulate=2, network.use_checkpoint=true or a train.patch smaller than 32x32x16"),
    ],
)  # fmt: skip
def test_only_what_helps_this_config_is_advised(config, advice) -> None:
    assert memory_advice(config) == (
        f"a step takes less with {advice}, in a new run (--run NAME); with more memory free, --resume goes on"
    )
