"""The forecast of a step: it counts what real tensors take, and grows as a step does."""

import pytest
import torch

from volseg.config.config import Config, validate_values
from volseg.model.optimizers import AdamW
from volseg.planning.forecast_recorder import tensor_bytes
from volseg.planning.forecast_step import META, StepInput, forecast_step, optimizer_means, record_step

pytestmark = pytest.mark.slow

SMALL = {
    "unet": {"name": "unet", "channels": [8, 16, 32], "norm": "batch"},
    "segresnet": {"name": "segresnet", "filters": 8, "blocks_down": [1, 1]},
    "supervised": {"name": "dynunet", "filters": [8, 16, 32, 32], "deep_supervision": True},
}


def config(network: object = "unet", **train: object) -> Config:
    settings = {"patch": (32, 32, 16), "batch": 2, **train}
    values = {"network": SMALL.get(str(network), network), "train": settings}
    return validate_values(values, "test")


def given(dtype: torch.dtype = torch.bfloat16) -> StepInput:
    return StepInput(channels=1, classes=3, exclusive=False, dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["unet", "segresnet"])
def test_the_meta_device_counts_what_real_tensors_take(name: str, dtype: torch.dtype) -> None:
    """To a few kB of buffers that batch norm makes only on the processor."""
    settings = config(name)
    peaks = [
        record_step(settings, given(dtype), settings.network.build(1, 3), torch.device(device)).peak
        for device in ("cpu", "meta")
    ]

    assert peaks[0] == pytest.approx(peaks[1], rel=1e-3)


def test_a_training_before_it_in_the_process_changes_no_forecast() -> None:
    """On a CPU training is deterministic, and torch's deterministic kernels keep other tensors."""
    peak = forecast_step(config("segresnet"), given()).peak
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    try:
        assert forecast_step(config("segresnet"), given()).peak == peak
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(mode=False)


def test_what_stays_is_weights_their_average_and_the_optimizers_two_means() -> None:
    settings = config()
    weights = tensor_bytes(settings.network.build(1, 3))
    without = forecast_step(config(ema=0.0), given())
    step = forecast_step(settings, given())

    assert optimizer_means(AdamW()) == 2
    assert (without.kept, step.kept) == (3 * weights, 4 * weights)
    assert step.peak - without.peak == weights
    assert step.parameters == sum(one.numel() for one in settings.network.build(1, 3).parameters())


@pytest.mark.parametrize("larger", [{"batch": 4}, {"patch": (64, 32, 16)}, {"patch": (32, 32, 32)}])
@pytest.mark.parametrize("name", list(SMALL))
def test_twice_the_voxels_take_twice_the_bytes_and_work(name: str, larger: dict[str, object]) -> None:
    one, two = (forecast_step(config(name, **train), given()) for train in ({}, larger))

    gradients = one.weights
    assert (two.peak - two.kept - gradients) / (one.peak - one.kept - gradients) == pytest.approx(2, rel=0.1)
    assert two.flops == 2 * one.flops
    assert two.batch == 2 * one.batch == 4 * 32 * 32 * 16 * (4 + 3)


def test_half_precision_keeps_little_more_than_half() -> None:
    """The loss is in float32; the wider the network, the less that is of the whole."""
    network = {"name": "dynunet", "filters": [32, 32, 32]}
    half, full = (forecast_step(config(network), given(dtype)) for dtype in (torch.bfloat16, torch.float32))

    assert 1.75 < (full.peak - full.kept) / (half.peak - half.kept) <= 2
    assert half.flops == full.flops


def test_a_batch_in_parts_takes_as_much_work_and_less_memory() -> None:
    whole, parts = (forecast_step(config(accumulate=count), given()) for count in (1, 2))

    assert parts.flops == whole.flops
    assert parts.peak - parts.kept < 0.75 * (whole.peak - whole.kept)


def test_logits_of_more_levels_take_more_memory() -> None:
    alone = {**SMALL["supervised"], "deep_supervision": False}
    plain, supervised = (forecast_step(config(network), given()) for network in (alone, "supervised"))

    assert supervised.peak - supervised.kept > plain.peak - plain.kept


def test_checkpoints_take_more_work_and_less_memory() -> None:
    settings = {"name": "swinunetr", "feature_size": 12}
    kept, again = (
        forecast_step(config({**settings, "use_checkpoint": value}, patch=(64, 64, 64), batch=1), given())
        for value in (False, True)
    )

    assert again.flops > kept.flops
    assert again.peak < 0.9 * kept.peak


def test_a_step_of_a_whole_scan_needs_no_memory_here() -> None:
    network = config().network.build(1, 3)
    record = record_step(config(patch=(512, 512, 512), batch=8), given(), network, META)

    assert record.peak > 10**11
