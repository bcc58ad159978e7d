import argparse
import hashlib
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from monai.networks import nets
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.model.networks.test_networks import NAMES, SMALL
from volseg.errors import UserError
from volseg.model.networks import PRIOR, SegResNet, SwinUNETR, UNet, init_prior_bias
from volseg.training.pretrained_weights import PretrainedWeights, ShapeMismatch, load_weights, read_weights

pytestmark = pytest.mark.slow

UNET = UNet(channels=(4, 8))


def state(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def given(tensors: dict[str, Tensor]) -> PretrainedWeights:
    return PretrainedWeights(Path("given.pt"), "", tensors)


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(v, other[k]) for k, v in one.items())


class Net(nn.Module):
    """Two layers, small enough to know every name: 8 + 2 and 4 + 2 parameters."""

    def __init__(self, outputs: int = 2) -> None:
        super().__init__()
        self.body = nn.Linear(4, 2)
        self.head = nn.Linear(2, outputs)


def test_missing_extra_and_wrongly_shaped_tensors_are_told_and_the_rest_is_copied() -> None:
    network = Net()
    before = state(network)
    theirs = {
        "body.weight": torch.full((2, 4), 7.0),
        "head.weight": torch.ones(3, 2),
        "tail.weight": torch.ones(5),
    }

    loaded = load_weights(network, given(theirs))

    assert loaded.loaded == ("body.weight",)
    assert loaded.missing == ("body.bias", "head.bias")
    assert loaded.extra == ("tail.weight",)
    assert loaded.wrong_shape == (ShapeMismatch(name="head.weight", there=(3, 2), here=(2, 2)),)
    assert (loaded.parameters, loaded.parameters_in_all) == (8, 16)
    expected = {**before, "body.weight": theirs["body.weight"]}
    assert same(state(network), expected)


def test_an_output_layer_for_other_classes_stays_fresh_with_its_prior() -> None:
    source, network = SMALL["dynunet"].build(1, 3), SMALL["dynunet"].build(1, 2)
    init_prior_bias(network, 2, exclusive=False)

    loaded = load_weights(network, given(state(source)))

    assert loaded.wrong_shape == (
        ShapeMismatch(name="output_block.conv.conv.weight", there=(3, 4, 1, 1, 1), here=(2, 4, 1, 1, 1)),
        ShapeMismatch(name="output_block.conv.conv.bias", there=(3,), here=(2,)),
    )
    assert not loaded.missing
    assert not loaded.extra
    bias = state(network)["output_block.conv.conv.bias"]
    assert torch.sigmoid(bias).tolist() == pytest.approx([PRIOR] * 2)
    assert all(torch.equal(state(network)[k], state(source)[k]) for k in loaded.loaded)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda tensors: tensors,
        OrderedDict,
        *[
            lambda tensors, key=key: {key: tensors, "epoch": 3, "random": torch.ones(9)}
            for key in ("state_dict", "model", "network", "network_weights", "model_state_dict")
        ],
        lambda tensors: {"net": tensors, "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}}},
        lambda tensors: {"checkpoint": 1, "state_dict": {"model": tensors}},
    ],
)
@pytest.mark.parametrize("ending", [".pt", ".pth", ".ckpt"])
def test_weights_are_found_in_the_usual_wrappers(tmp_path: Path, ending: str, wrap) -> None:
    tensors = state(UNET.build(1, 2))
    file = tmp_path / f"w{ending}"
    torch.save(wrap(tensors), file)

    weights = read_weights(file)

    assert same(weights.tensors, tensors)
    assert weights.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()


def test_safetensors_are_read(tmp_path: Path) -> None:
    tensors = state(UNET.build(1, 2))
    save_file(tensors, tmp_path / "w.safetensors")

    assert same(read_weights(tmp_path / "w.safetensors").tensors, tensors)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "prefix", ["module.", "model.", "_orig_mod.", "net.", "module._orig_mod.", "model._orig_mod.network."]
)
def test_a_wrappers_part_of_the_names_is_dropped(name: str, prefix: str) -> None:
    source, network = SMALL[name].build(1, 2), SMALL[name].build(1, 2)
    theirs = {prefix + key: value for key, value in state(source).items()}

    loaded = load_weights(network, given({**theirs, "criterion.weight": torch.ones(2)}))

    assert same(state(network), state(source))
    assert (loaded.dropped, loaded.extra) == (prefix, ("criterion.weight",))
    assert loaded.parameters == loaded.parameters_in_all


def test_names_of_the_networks_own_keep_their_first_part() -> None:
    """MONAI's U-Net calls its layers `model.…` itself."""
    source, network = UNET.build(1, 2), UNET.build(1, 2)
    assert all(name.startswith("model.") for name in state(source))

    loaded = load_weights(network, given(state(source)))

    assert loaded.dropped == ""
    assert same(state(network), state(source))


def test_a_self_supervised_swin_encoder_fits_below_swinvit() -> None:
    """Names as in MONAI's model_swinvit.pt: `module.` before, no swinViT, fc for linear."""
    source, network = (SwinUNETR(feature_size=12).build(1, 2) for _ in range(2))
    encoder = {k: v for k, v in state(source).items() if k.startswith("swinViT.")}
    theirs = {k.replace("swinViT.", "module.").replace(".linear", ".fc"): v for k, v in encoder.items()}
    assert "module.layers1.0.blocks.0.mlp.fc1.weight" in theirs
    before = state(network)

    loaded = load_weights(network, given({**theirs, "module.rotation_head.weight": torch.ones(4, 96)}))

    assert (loaded.dropped, loaded.added) == ("module.", "swinViT.")
    assert set(loaded.loaded) == set(encoder)
    assert loaded.extra == ("module.rotation_head.weight",)
    assert same(state(network), {**before, **encoder})


MONAIS = {
    "unet": lambda: nets.UNet(3, 2, 3, channels=(4, 8, 16), strides=((2, 2, 2), (2, 2, 1)), num_res_units=2),
    "segresnet": lambda: nets.SegResNet(3, 8, 2, 3, blocks_down=(1, 1), blocks_up=(1,)),
    "dynunet": lambda: nets.DynUNet(3, 2, 3, [3] * 3, [1, (2, 2, 1), 2], [(2, 2, 1), 2], filters=(4, 8, 8)),
    "mednext": lambda: nets.MedNeXt(
        3, 4, 2, 3, kernel_size=3, deep_supervision=True, use_residual_connection=True
    ),
    "swinunetr": lambda: nets.SwinUNETR(in_channels=2, out_channels=3, feature_size=12),
}


@pytest.mark.parametrize("name", MONAIS)
def test_monais_own_weights_fit_whole_and_give_the_same_output(name: str) -> None:
    theirs, network = MONAIS[name]().eval(), SMALL[name].build(2, 3).eval()
    size = [2 * n for n in SMALL[name].stride]
    patch = torch.randn(1, 2, *size, generator=torch.Generator().manual_seed(0))

    loaded = load_weights(network, given(state(theirs)))

    assert (loaded.missing, loaded.extra, loaded.wrong_shape) == ((), (), ())
    assert loaded.parameters == sum(p.numel() for p in network.parameters())
    with torch.no_grad():
        # The sums of SwinUNETR are in another order than MONAI's: some 1.4e-4 of a deviation of 0.5.
        close = {"atol": 5e-4, "rtol": 1e-5} if name == "swinunetr" else {}
        torch.testing.assert_close(network(patch), theirs(patch), **close)


@pytest.mark.parametrize("filters", [12, 20, 32])
def test_weights_of_the_competitions_winner_fit_whole(filters: int) -> None:
    """MONAI's class with the arguments that the first place published."""
    winner = nets.SegResNet(3, filters, 1, 3, norm="BATCH", act="PRELU")
    config = SegResNet(filters=filters, norm="batch", act="prelu")
    network = config.build(1, 3)

    loaded = load_weights(network, given({f"module.{k}": v for k, v in state(winner).items()}))

    assert (loaded.missing, loaded.extra, loaded.wrong_shape) == ((), (), ())
    assert same(state(network), state(winner))


@pytest.mark.parametrize("kept", ["both", "first", "second"])
def test_a_tensor_with_two_names_counts_once_whichever_the_file_has(kept: str) -> None:
    """MONAI's DynUNet lists its layers again below `skip_layers.`."""
    source, network = (SMALL["dynunet"].build(1, 2) for _ in range(2))
    first = {name for name, _ in source.named_parameters()}
    second = {name: value for name, value in state(source).items() if name not in first}
    pointers = {value.data_ptr(): name for name, value in source.named_parameters()}
    doubled = {pointers[source.state_dict()[name].data_ptr()] for name in second}
    gone = {"both": set(), "first": set(second), "second": doubled}[kept]

    loaded = load_weights(network, given({k: v for k, v in state(source).items() if k not in gone}))

    assert set(loaded.loaded) == first
    assert not loaded.extra
    assert same(state(network), state(source))


def test_half_precision_is_taken_into_the_networks_own() -> None:
    network = Net()

    load_weights(network, given({"body.weight": torch.full((2, 4), 0.5, dtype=torch.bfloat16)}))

    assert network.body.weight.dtype == torch.float32
    assert network.body.weight.unique().tolist() == [0.5]


def test_names_of_another_network_are_refused_and_shown() -> None:
    with pytest.raises(
        UserError,
        match=r"given\.pt: names are not the network's \(there: conv\.w; here: body\.weight, "
        r"body\.bias, head\.weight, \.\.\.\); give weights of such a network",
    ):
        load_weights(Net(), given({"conv.w": torch.ones(3, 3)}))


def test_a_network_of_other_widths_is_refused_though_small_tensors_fit() -> None:
    """Slopes, biases of the output and its last kernel have the same shape whatever the width."""
    network = UNet(channels=(8, 16)).build(1, 2)
    theirs = UNET.build(1, 2).state_dict()
    before = state(network)
    assert any(value.ndim > 1 and value.shape == theirs[k].shape for k, value in before.items())

    with pytest.raises(UserError, match=r"names are the network's, but shapes are not .*16x16x3x3x3 here"):
        load_weights(network, given(theirs))

    assert same(state(network), before)


def test_weights_that_are_no_numbers_are_refused_and_nothing_is_copied() -> None:
    network = Net()
    before = state(network)
    theirs = {"body.weight": torch.ones(2, 4), "head.bias": torch.tensor([1, float("nan")])}

    with pytest.raises(UserError, match=r"NaN or infinity in head\.bias"):
        load_weights(network, given(theirs))

    assert same(state(network), before)


def _torchscript(file: Path) -> None:
    torch.jit.save(torch.jit.trace(nn.Conv3d(1, 2, 1), torch.ones(1, 1, 2, 2, 2)), file)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda _: None, r"can't be read \(No such file"),
        (lambda file: file.mkdir(), r"can't be read \(Is a directory"),
        (lambda file: file.write_bytes(b""), "zero bytes; copy or download"),
        (lambda file: file.write_bytes(b"junk"), "damaged, or not a file of PyTorch's"),
        (lambda file: file.write_bytes(b"PK\x03\x04junk"), "damaged, or not a file of PyTorch's"),
        (
            lambda file: file.write_text("version https://git-lfs.github.com/spec/v1\n"),
            "only git's pointer to the file; fetch it with `git lfs pull`",
        ),
        (_torchscript, "TorchScript, which holds code; give the state dict"),
        (
            lambda file: torch.save({"state_dict": {}, "args": argparse.Namespace(a=1)}, file),
            r"holds Python objects \(argparse\.Namespace\)",
        ),
        (lambda file: torch.save(Net(), file), r"holds Python objects \(\S*Net\)"),
        (lambda file: torch.save({}, file), "no weights in it; expected a state dict"),
        (lambda file: torch.save({"epoch": 3}, file), "no weights in it but epoch; expected"),
        (lambda file: torch.save([torch.ones(2)], file), "no weights in it but one list"),
    ],
)
def test_what_is_no_file_of_weights_is_named_with_what_would_be(tmp_path: Path, make, text: str) -> None:
    file = tmp_path / "w.pt"
    make(file)

    with pytest.raises(UserError, match=rf"^\S+w\.pt: {text}"):
        read_weights(file)


@pytest.mark.parametrize("content", [b"junk", b"\x08\0\0\0\0\0\0\0{}      "])
def test_damaged_and_empty_safetensors_are_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w.safetensors").write_bytes(content)

    with pytest.raises(UserError, match=r"w\.safetensors: (damaged, or not safe|no weights in it)"):
        read_weights(tmp_path / "w.safetensors")


def test_a_checkpoint_that_holds_itself_has_no_weights(tmp_path: Path) -> None:
    values: dict = {}
    values["model"] = values
    torch.save(values, tmp_path / "w.pt")

    with pytest.raises(UserError, match="no weights in it but model"):
        read_weights(tmp_path / "w.pt")


def test_a_file_that_would_run_code_runs_none(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    torch.save({"state_dict": {"w": torch.ones(2)}, "trap": Trap()}, tmp_path / "w.pt")

    with pytest.raises(UserError, match="holds Python objects"):
        read_weights(tmp_path / "w.pt")

    assert not (tmp_path / "sprung").exists()
