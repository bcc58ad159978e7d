from dataclasses import replace

import pytest

from volseg.errors import UserError
from volseg.planning.forecast_gpus import (
    ARITHMETIC,
    CONVOLVING,
    GB,
    GPUS,
    LAUNCH_SECONDS,
    MOVING,
    Gpu,
    find_gpu,
)
from volseg.planning.forecast_recorder import Operation

MADE_UP = Gpu("made up", 8 * GB, half_flops=1e12, single_flops=1e11, bandwidth=1e9)


@pytest.mark.parametrize("gpu", GPUS, ids=str)
def test_every_gpu_is_found_by_its_name(gpu: Gpu) -> None:
    assert find_gpu(gpu.name) == gpu
    assert find_gpu(gpu.name.lower().replace(" ", "-")) == gpu


@pytest.mark.parametrize(
    ("text", "name", "memory"),
    [
        ("4090", "RTX 4090", 24 * GB),
        ("NVIDIA GeForce RTX 4090", "RTX 4090", 24 * GB),
        ("A100", "A100 80GB", 80 * GB),
        ("Tesla T4", "T4", 16 * GB),
    ],
)
def test_a_short_name_is_enough(text: str, name: str, memory: int) -> None:
    assert (find_gpu(text).name, find_gpu(text).memory) == (name, memory)


@pytest.mark.parametrize(
    ("text", "memory", "like"),
    [("8GB", 8 * GB, "T4"), ("24 GB", 24 * GB, "V100"), ("48G", 48 * GB, "A100 80GB"), ("8GiB", 2**33, "T4")],
)
def test_memory_alone_has_the_speed_of_the_slowest_that_has_it(text: str, memory: int, like: str) -> None:
    found = find_gpu(text)

    assert (found.memory, found.like) == (memory, like)
    slowest = min((gpu for gpu in GPUS if gpu.memory >= memory), key=lambda gpu: gpu.bandwidth)
    assert found.bandwidth == slowest.bandwidth


@pytest.mark.parametrize("text", ["", "5090", "0GB", "-5GB", "GB", "rtx"])
def test_what_is_no_gpu_is_told_with_those_that_are(text: str) -> None:
    with pytest.raises(
        UserError, match=r"^--gpu: .* is no GPU known here.*expected one of .*T4.*e\.g\. 24GB"
    ):
        find_gpu(text)


def test_an_operation_takes_as_long_as_its_slower_part() -> None:
    arithmetic = Operation(flops=10**12, moved=10**9)
    movement = Operation(flops=10**11, moved=10**9)
    convolution = Operation(flops=1, moved=10**9, groups=1)

    assert MADE_UP.step_seconds([arithmetic], half=True) == pytest.approx(1 / ARITHMETIC)
    assert MADE_UP.step_seconds([arithmetic], half=False) == pytest.approx(10 / ARITHMETIC)
    assert MADE_UP.step_seconds([movement], half=True) == pytest.approx(1 / MOVING)
    assert MADE_UP.step_seconds([convolution], half=True) == pytest.approx(1 / CONVOLVING)
    assert MADE_UP.step_seconds([arithmetic, movement], half=True) == pytest.approx(
        1 / ARITHMETIC + 1 / MOVING
    )


def test_a_step_is_no_faster_than_its_launches() -> None:
    fast = replace(MADE_UP, half_flops=1e30, bandwidth=1e30)

    assert fast.step_seconds([Operation(1, 1)] * 1000, half=True) == pytest.approx(1000 * LAUNCH_SECONDS)
