"""The engines run one network: what torch computes, the files it was converted to compute as well."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from volseg.model.engines import EngineOptions, OnnxRuntime, OpenVINO, Torch, TrainedModel
from volseg.model.engines.conversion import convert_network
from volseg.model.engines.interface import LARGEST, STEPS, RunningNetwork, WeightedLogits, WeightedWindow
from volseg.model.networks import DynUNet, MedNeXt, Network, ResEnc, SegResNet, SwinUNETR, UNet, UNet25D
from volseg.schema import union_members

pytestmark = pytest.mark.slow

SMALL = {
    "unet": UNet(channels=(4, 8, 16), strides=(2, (2, 2, 1))),
    "segresnet": SegResNet(filters=8, blocks_down=(1, 1)),
    "dynunet": DynUNet(filters=(4, 8, 8), strides=((2, 2, 1), 2)),
    "resenc": ResEnc(filters=(4, 8, 8), blocks=(1, 2, 1), strides=((2, 2, 1), 2), kernels=((3, 3, 1), 3, 3)),
    "mednext": MedNeXt(filters=4),
    "swinunetr": SwinUNETR(feature_size=12),
    "unet25d": UNet25D(offsets=(-2, 0, 1), decoder=(8, 8, 8, 8, 8)),
}
SUFFIXES = {"openvino": ".xml", "onnx": ".onnx"}


def model(name: str, folder: Path) -> TrainedModel:
    """A network of this kind with other weights than it starts with, two channels and three classes."""
    x, y, z = SMALL[name].stride
    window = (64, 32, 32) if name == "swinunetr" else (4 * x, 3 * y, 2 * z)

    @cache
    def network():
        torch.manual_seed(0)
        made = SMALL[name].build(2, 3).eval()
        for values in made.parameters():
            if values.ndim == 1:
                torch.nn.init.normal_(values, 0.3, 0.3)
        return made

    def file(kind) -> Path:
        path = folder / f"model{SUFFIXES[kind]}"
        if not path.is_file():
            convert_network(network(), (2, *window), kind, path)
        return path

    return TrainedModel(("torch", "openvino", "onnx"), window, 2, "fp32", network, file)


def logits_of(network: RunningNetwork, windows: list[WeightedWindow]) -> list[WeightedLogits]:
    """The weighted logits of windows, and their totals, as numpy's arrays."""
    there = (WeightedWindow(*map(network.arrays.upload, window)) for window in windows)
    return [
        WeightedLogits(*(np.asarray(array).copy() for array in part))  # a copy: it is valid until the next
        for part in network.parts(there)
    ]


@pytest.mark.parametrize("name", union_members(Network))
def test_all_engines_count_the_same_logits(name: str, tmp_path: Path) -> None:
    given = model(name, tmp_path)
    only_onnx = TrainedModel(("onnx",), given.window, 2, "fp32", given.network, given.file)
    generator = np.random.default_rng(0)
    windows = [
        WeightedWindow(
            generator.random((2, *given.window), np.float32),
            generator.random(given.window, np.float32) * STEPS,
        )
        for _ in range(3)
    ]
    network = given.network()
    with torch.inference_mode():
        logits = [network(torch.from_numpy(one.image)[None])[0].numpy() for one in windows]
    expected = [found * one.weight for found, one in zip(logits, windows, strict=True)]

    for engine, one in (
        (Torch(), given),
        (OpenVINO(), given),
        (OpenVINO(), only_onnx),
        (OnnxRuntime(), given),
    ):
        parts = logits_of(engine.load(one, EngineOptions(2)), windows)
        found = [part.steps for part in parts]

        assert {part.dtype for part in found} == {np.dtype(np.int16)}
        np.testing.assert_allclose([part.total for part in parts], np.sum(logits, (1, 2, 3, 4)), rtol=1e-3)
        most = 1e-3 * np.abs(expected).max() + 0.5
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=most)
    assert np.std(logits) > 0.01


class Bias(torch.nn.Module):
    """Logits of three classes: the image's first channel and these numbers."""

    def __init__(self, *bias: float) -> None:
        super().__init__()
        self.bias = torch.nn.Parameter(torch.tensor(bias))

    def forward(self, image):
        return image[:, :1] + self.bias[:, None, None, None]


def biased(folder: Path, *bias: float) -> TrainedModel:
    window, network = (4, 6, 8), Bias(*bias).eval()

    def file(kind) -> Path:
        path = folder / f"model{SUFFIXES[kind]}"
        if not path.is_file():
            convert_network(network, (2, *window), kind, path)
        return path

    return TrainedModel(("torch", "openvino", "onnx"), window, 2, "fp32", lambda: network, file)


ENGINES = (Torch(), OpenVINO(), OnnxRuntime())


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
def test_a_part_by_hand(engine, tmp_path: Path) -> None:
    """1.25 counts 512 of 1024 steps: 640. What is beyond LARGEST counts as that; halves go to even."""
    given = biased(tmp_path, 0.0, 1e9, -1e9)
    image = np.full((2, *given.window), 1.25, np.float32)
    weight = np.full(given.window, 512.0, np.float32)
    weight[1], weight[2] = 2.0, 1.2  # 2.5 and 1.5

    ((part, _),) = logits_of(engine.load(given, EngineOptions(2)), [WeightedWindow(image, weight)])

    assert (part[0][0] == 640).all()
    assert (part[0][1:3] == 2).all()
    assert (part[1][0] == LARGEST * 512).all()
    assert (part[2][0] == -LARGEST * 512).all()


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
def test_the_total_tells_of_logits_that_are_not_finite(engine, wrong: float, tmp_path: Path) -> None:
    given = biased(tmp_path, 0.0, wrong, 0.0)
    window = WeightedWindow(np.zeros((2, *given.window), np.float32), np.ones(given.window, np.float32))

    ((_, total),) = logits_of(engine.load(given, EngineOptions(2)), [window])

    assert not np.isfinite(total)
