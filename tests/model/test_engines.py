"""The engines run one network: what torch computes, the files it was converted to compute as well."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from volseg.model.engines import Model, OnnxRuntime, OpenVINO, Torch, Work
from volseg.model.engines.convert import convert
from volseg.model.networks import DynUNet, Network, SegResNet, SwinUNETR, UNet
from volseg.schema import members

SMALL = {
    "unet": UNet(channels=(4, 8, 16), strides=(2, (2, 2, 1))),
    "segresnet": SegResNet(filters=8, blocks_down=(1, 1)),
    "dynunet": DynUNet(filters=(4, 8, 8), strides=((2, 2, 1), 2)),
    "swinunetr": SwinUNETR(feature_size=12),
}
SUFFIXES = {"openvino": ".xml", "onnx": ".onnx"}


def model(name: str, folder: Path) -> Model:
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
            convert(network(), (2, *window), kind, path)
        return path

    return Model(("torch", "openvino", "onnx"), window, 2, "fp32", network, file)


@pytest.mark.slow
@pytest.mark.parametrize("name", members(Network))
def test_all_engines_give_the_same_logits(name: str, tmp_path: Path) -> None:
    given = model(name, tmp_path)
    only_onnx = Model(("onnx",), given.window, 2, "fp32", given.network, given.file)
    generator = np.random.default_rng(0)
    windows = [generator.random((2, *given.window), np.float32) for _ in range(3)]

    expected, *others = (
        [found.copy() for found in engine.load(one, Work(2)).outputs(iter(windows))]
        for engine, one in (
            (Torch(), given), (OpenVINO(), given), (OpenVINO(), only_onnx), (OnnxRuntime(), given),
        )
    )  # fmt: skip

    assert np.std(expected) > 0.01
    for found in others:
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())
