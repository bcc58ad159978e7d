import socket
from dataclasses import replace

import pytest
import torch
from monai.networks.nets import EfficientNetBN
from safetensors.torch import save_file

from tests import tiny
from volseg.arguments import TrainArguments
from volseg.errors import UserError
from volseg.model.networks import UNet25D
from volseg.runs.run_files import LAST
from volseg.training import encoder_weights
from volseg.training.encoder_weights import load_encoder, match_encoder
from volseg.training.train import train

pytestmark = pytest.mark.slow
SMALL = UNet25D(decoder=(8, 8, 8, 8, 8))
TIMM = [
    "conv_stem.weight",
    "bn1.running_var",
    "blocks.0.0.conv_dw.weight",
    "blocks.0.0.bn1.weight",
    "blocks.0.0.se.conv_reduce.weight",
    "blocks.0.0.conv_pw.weight",
    "blocks.0.0.bn2.bias",
    "blocks.1.0.conv_pw.weight",
    "blocks.1.1.conv_dw.weight",
    "blocks.3.2.se.conv_expand.bias",
    "blocks.5.3.conv_pwl.weight",
    "blocks.6.0.bn3.running_mean",
]
"""Some names of timm's efficientnet_b0."""
FLAT = {
    "_conv_stem.weight": "_conv_stem.weight",
    "_blocks.1.1._expand_conv.weight": "_blocks.1._expand_conv.weight",
    "_blocks.6.15._bn2.bias": "_blocks.15._bn2.bias",
}
"""Some names of EfficientNet-PyTorch's, whose sixteen blocks are counted through, by MONAI's."""


@pytest.fixture(scope="module")
def theirs() -> dict[str, torch.Tensor]:
    """The weights of MONAI's classifier of pictures, no two of which are alike."""
    generator = torch.Generator().manual_seed(0)
    state = EfficientNetBN("efficientnet-b0", pretrained=False).state_dict()
    return {name: torch.rand(value.shape, generator=generator) for name, value in state.items()}


def written(tmp_path, tensors, kind="pth"):
    file = tmp_path / f"weights.{kind}"
    if kind == "safetensors":
        save_file({name: value.contiguous() for name, value in tensors.items()}, file)
    else:
        torch.save(tensors, file)
    return file


def no_network(*_, **__):
    raise AssertionError("the network was asked")


@pytest.mark.parametrize("kind", ["pth", "safetensors"])
@pytest.mark.parametrize("naming", range(len(encoder_weights.NAMINGS)))
def test_the_encoder_gets_each_tensor_without_a_network(tmp_path, monkeypatch, theirs, naming, kind) -> None:
    rename = encoder_weights.NAMINGS[naming]
    first = {str(stage): block for stage, block in enumerate((0, 1, 3, 5, 8, 11, 15))}
    file = written(tmp_path, {rename(name, first): value for name, value in theirs.items()}, kind)
    monkeypatch.setattr(socket, "socket", no_network)
    monkeypatch.setattr(socket, "create_connection", no_network)

    network = SMALL.build(1, 2)
    load_encoder(network, file)

    for name, value in network.encoder.state_dict().items():
        if value.is_floating_point() and name != "_conv_stem.weight":
            assert torch.equal(value, theirs[name])


def test_names_are_those_of_timm_and_of_efficientnet_pytorch(theirs) -> None:
    wanted = [name for name in theirs if not name.startswith(("_conv_head", "_bn1", "_fc"))]

    assert set(TIMM) <= set(encoder_weights._names_in(TIMM, wanted).values())
    assert FLAT.items() <= encoder_weights._names_in(list(FLAT.values()), wanted).items()


@pytest.mark.parametrize("channels", [1, 2])
def test_slices_that_are_alike_give_what_a_grey_picture_gave(tmp_path, theirs, channels) -> None:
    slice_, network = torch.rand(1, 1, 8, 8), SMALL.build(channels, 1)
    load_encoder(network, written(tmp_path, theirs))

    stem, theirs_stem = network.encoder._conv_stem, theirs["_conv_stem.weight"]
    alike = torch.nn.functional.conv2d(slice_.expand(-1, 5 * channels, -1, -1), stem.weight, stride=2)
    grey = torch.nn.functional.conv2d(slice_.expand(-1, 3, -1, -1), theirs_stem, stride=2)
    torch.testing.assert_close(alike, grey)


def test_a_file_of_other_weights_is_told_in_one_line_and_changes_nothing(tmp_path, theirs) -> None:
    network = SMALL.build(1, 1)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    last = "_blocks.6.15._project_conv.weight"
    lacks = {name: value for name, value in theirs.items() if "_se_" not in name}
    for tensors, told in (
        (lacks, "lacks 64 of the encoder's 304 tensors .*_se_reduce"),
        ({**theirs, last: torch.ones(384, 1152, 1, 1)}, f"{last} is 384x1152x1x1 there and 320x1152x1x1"),
        ({**theirs, last: torch.full((320, 1152, 1, 1), torch.nan)}, f"NaN or infinity in {last}"),
        ({"layer1.0.conv1.weight": torch.ones(3)}, "lacks 304 of"),
    ):
        with pytest.raises(UserError, match=told) as caught:
            load_encoder(network, written(tmp_path, tensors))
        assert "\n" not in str(caught.value)

    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_a_missing_file_is_told(tmp_path) -> None:
    with pytest.raises(UserError, match=r"none\.pth: can't be read"):
        match_encoder(SMALL.build(1, 1), tmp_path / "none.pth")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_run_starts_from_the_file_and_goes_on_without_it(tmp_path, data, theirs, precision) -> None:
    file = written(tmp_path, theirs)
    settings = {"name": "unet25d", "decoder": [8] * 5, "weights": str(file)}
    course = {"patch": [32, 32, 6], "steps": 2, "epoch_steps": 1, "precision": precision, "ema": 0.0}
    config = tiny.config(network=settings, train=course, optimizer={"lr": 1e-7}, data={"split": "none"})
    options = TrainArguments(data=data, run=tmp_path / "run")

    train(config, replace(options, max_seconds=1e-3))
    begun = torch.load(options.run / LAST, weights_only=True)
    file.unlink()
    train(config, replace(options, resume=True))

    done = torch.load(options.run / LAST, weights_only=True)
    assert begun["step"] < done["step"] == 2
    name = "encoder._blocks.3.5._expand_conv.weight"
    torch.testing.assert_close(
        done["network"][name], theirs[name.removeprefix("encoder.")], atol=1e-5, rtol=0
    )
    assert not torch.equal(done["network"][name], begun["network"][name])
