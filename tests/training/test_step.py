"""The laws of a training step; what it launches and what it reads."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from volseg.errors import UserError
from volseg.model.engines.torch_device import Device
from volseg.model.losses import DiceCE, Loss
from volseg.model.networks import DynUNet, UNet
from volseg.model.optimizers import AdamW
from volseg.schema import union_members
from volseg.training import compilation, loss_scale
from volseg.training.loss_scale import FIRST, LossScale
from volseg.training.moving_average import MovingAverage
from volseg.training.state import TrainingState
from volseg.training.step import NotFiniteError, Stepper, StepResult

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def batch(count: int = 2, *, seed: int = 0) -> dict[str, Tensor]:
    """Patches of noise in which the bright voxels are of one class and the dark ones of another."""
    image = torch.randn(count, 1, 8, 8, 4, generator=torch.Generator().manual_seed(seed))
    return {"image": image, "label": torch.cat([image > 0.5, image < -0.5], dim=1).byte()}


class Training:
    """A small network with batch norms and dropout, and all that its steps need."""

    def __init__(self, precision: str = "fp32", *, ema: float = 0.9, **settings: object) -> None:
        torch.manual_seed(0)
        network = UNet(channels=(4, 8), strides=(2,), dropout=0.1, norm="batch").build(1, 2)
        scale = LossScale(CPU, enabled=precision == "fp16")
        average = MovingAverage(network, ema) if ema else None
        self.state = TrainingState(network, AdamW().build(network.parameters()), scale, average)
        if settings.pop("compiled", False):
            settings["compiled"] = compilation.compile_network(network)
        self.stepper = Stepper(DiceCE(), False, Device(CPU, TYPES[precision]), **{"clip": 12.0, **settings})

    def step(self, values: dict[str, Tensor]) -> StepResult | None:
        result = self.stepper.step(self.state, values, 1e-2)
        self.state.step += 1
        return result

    def weights(self) -> dict[str, Tensor]:
        """All that a step may change, with the optimizer's momenta and counters."""
        momenta = self.state.optimizer.state_dict()["state"]
        return {
            **{f"network {key}": value.clone() for key, value in self.state.network.state_dict().items()},
            **{f"{n} {key}": value.clone() for n, row in momenta.items() for key, value in row.items()},
            **{
                f"average {key}": value.clone()
                for key, value in (
                    self.state.average.module.state_dict() if self.state.average else {}
                ).items()
            },
        }


def differing(one: dict[str, Tensor], other: dict[str, Tensor]) -> list[str]:
    return [name for name, value in one.items() if not torch.equal(value, other[name])]


def spoil_gradient(network: nn.Module, factor: float, *, at: int) -> None:
    """Multiply a gradient by a factor in the `at`-th backward pass from now."""
    calls = iter(range(1, 1000))
    next(network.parameters()).register_hook(lambda g: g * factor if next(calls) == at else g)


class Reads(TorchDispatchMode):
    """Counts reads of values from the device."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default)
        return func(*args, **(kwargs or {}))


@contextmanager
def counted_reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[Reads]:
    """Count what would make a GPU's processor wait: torch dispatches `item`, but not these methods."""
    with monkeypatch.context() as patched, Reads() as reads:
        for name in ("tolist", "cpu", "numpy"):
            real = getattr(Tensor, name)

            def counting(self: Tensor, *args: object, real: Callable = real, **kwargs: object) -> object:
                reads.count += 1
                return real(self, *args, **kwargs)

            patched.setattr(Tensor, name, counting)
        yield reads


@pytest.mark.parametrize("parts", [None, [1, 1]])
@pytest.mark.parametrize("ema", [0.0, 0.9])
@pytest.mark.parametrize("precision", TYPES)
def test_at_most_one_value_a_step_is_read_from_the_device(monkeypatch, precision, ema, parts) -> None:
    training = Training(precision, ema=ema, parts=parts)
    training.step(batch())

    for _ in range(3):
        with counted_reads(monkeypatch) as reads:
            training.step(batch())
        assert reads.count == 1


@pytest.mark.parametrize("precision", TYPES)
@pytest.mark.parametrize("compiled", [False, True])
def test_deep_supervision_takes_steps_and_reads_no_more(monkeypatch, precision: str, compiled: bool) -> None:
    """In two parts; compiled or not, the weights are the same."""
    monkeypatch.setattr(compilation, "BACKEND", "eager")
    torch.manual_seed(0)
    network = DynUNet(filters=(4, 4, 4), strides=((2, 2, 1), 2), deep_supervision=True).build(1, 2)
    state = TrainingState(
        network,
        AdamW().build(network.parameters()),
        LossScale(CPU, enabled=precision == "fp16"),
        MovingAverage(network, 0.9),
    )
    made = compilation.compile_network(network) if compiled else None
    stepper = Stepper(DiceCE(), True, Device(CPU, TYPES[precision]), 12.0, [1, 1], (2, 1), compiled=made)
    heads = [layer.weight.clone() for layer in network.output_layers()]
    stepper.step(state, batch(), 1e-2)

    with counted_reads(monkeypatch) as reads:
        first = stepper.step(state, batch(), 1e-2)

    assert reads.count == 1
    assert stepper.finish().loss < first.loss
    assert all((a != b.weight).any() for a, b in zip(heads, network.output_layers(), strict=True))
    torch._dynamo.reset()


@pytest.mark.parametrize("loss", union_members(Loss).values())
@pytest.mark.parametrize("exclusive", [False, True])
def test_no_loss_reads_from_the_device(monkeypatch, loss, exclusive: bool) -> None:
    values = batch()
    logits = torch.randn(2, 2, 8, 8, 4, requires_grad=True)

    with counted_reads(monkeypatch) as reads:
        loss()(logits, values["label"], exclusive=exclusive).backward()

    assert reads.count == 0


def test_a_result_comes_with_the_next_step_and_none_is_lost() -> None:
    training = Training("fp32")

    found = [training.step(batch()) for _ in range(3)]
    found += [training.stepper.finish(), training.stepper.finish()]

    assert [one and one.done for one in found] == [None, 1, 2, 3, None]


def test_the_loss_is_that_of_the_weights_before_the_step() -> None:
    training, values = Training("fp32"), batch()
    network = copy.deepcopy(training.state.network)
    state = torch.get_rng_state()
    image = training.stepper.device.send_batch(values["image"])  # dropout draws in the order of the memory
    expected = DiceCE()(network(image), values["label"], exclusive=False).item()
    torch.set_rng_state(state)

    training.step(values)

    assert training.stepper.finish().loss == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_what_is_no_number_moves_nothing_then_or_later(precision: str, what: str) -> None:
    """The step after it is launched before the processor knows."""
    training = Training(precision)
    training.step(batch())
    training.step(batch())
    before = training.weights()
    spoilt = batch(seed=1)
    if what == "loss":
        spoilt["image"][0, 0, 0, 0, 0] = torch.nan
    else:
        spoil_gradient(training.state.network, torch.inf, at=1)

    training.step(spoilt)
    with pytest.raises(NotFiniteError, match=f"the {what} is (nan|inf)") as caught:
        training.step(batch())

    assert (caught.value.step.number, caught.value.step.rate) == (2, 1e-2)
    assert caught.value.step.batch is spoilt
    assert not differing(before, training.weights())


def test_an_infinite_last_step_is_seen_when_training_is_finished() -> None:
    training = Training("fp32")
    spoil_gradient(training.state.network, torch.nan, at=1)
    training.step(batch())

    with pytest.raises(NotFiniteError, match="the gradient is nan"):
        training.stepper.finish()


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_in_fp16_an_infinite_step_changes_nothing_but_halves_the_scale(what: str) -> None:
    training = Training("fp16")
    training.step(batch())
    before = training.weights()
    spoilt = batch(seed=1)
    if what == "loss":
        spoilt["image"][:] = 1e30  # infinite in float16
    else:
        spoil_gradient(training.state.network, torch.inf, at=1)

    training.step(spoilt)
    skipped = training.weights()
    training.step(batch())
    training.stepper.finish()

    assert not differing(before, skipped)
    assert training.state.loss_scale.factor == FIRST / 2
    assert "network model.0.conv.unit0.conv.weight" in differing(before, training.weights())


def test_in_fp16_a_scale_below_one_ends_training_with_the_weights_before() -> None:
    training = Training("fp16")
    training.step(batch())
    before = training.weights()
    next(training.state.network.parameters()).register_hook(lambda gradient: gradient * torch.inf)

    with pytest.raises(NotFiniteError, match=r"the loss scale of float16 has fallen to 0\.5") as caught:
        [training.step(batch()) for _ in range(100)]

    assert caught.value.step.number == 1 + 16  # 2^16 is halved 17 times
    assert not differing(before, training.weights())


@pytest.mark.parametrize("precision", TYPES)
def test_an_infinite_loss_with_a_finite_gradient_moves_nothing(precision: str) -> None:
    """As logits give that are too large for float16; torch's GradScaler looks at the gradient only."""
    network = nn.Conv3d(1, 2, 1)
    nn.init.constant_(network.bias, 1e6 if precision == "fp16" else torch.inf)
    scale = LossScale(CPU, enabled=precision == "fp16")
    state = TrainingState(network, AdamW().build(network.parameters()), scale)
    stepper = Stepper(DiceCE(dice=0, ce=1), False, Device(CPU, TYPES[precision]), clip=12.0)
    before = network.weight.clone()

    stepper.step(state, {**batch(), "label": torch.zeros(2, 2, 8, 8, 4).byte()}, 1e-2)

    assert torch.isfinite(network.weight.grad).all()
    assert torch.equal(before, network.weight)
    if precision == "fp16":
        assert stepper.finish().loss == torch.inf
        assert scale.factor == FIRST / 2
    else:
        with pytest.raises(NotFiniteError, match="the loss is inf"):
            stepper.finish()


def test_the_loss_scale_changes_no_gradient_but_those_that_would_be_zero() -> None:
    """A gradient of 1e-8 at a voxel is 0 in float16."""
    steps = {}
    for precision in ("fp32", "fp16"):
        torch.manual_seed(0)
        network = nn.Conv3d(1, 2, 1)
        network.register_forward_hook(lambda _network, _inputs, logits: logits * 1e-5)
        before = network.weight.clone()
        scale = LossScale(CPU, enabled=precision == "fp16")
        sgd = torch.optim.SGD(network.parameters(), fused=True)
        stepper = Stepper(DiceCE(dice=0, ce=1), False, Device(CPU, TYPES[precision]), clip=1e9)
        stepper.step(TrainingState(network, sgd, scale), batch(), 1e4)
        steps[precision] = network.weight.detach() - before

    assert (steps["fp32"].abs() > 1e-4).any()
    torch.testing.assert_close(steps["fp16"], steps["fp32"], rtol=0.02, atol=1e-4)


def test_the_loss_scale_goes_as_torchs(monkeypatch) -> None:
    """Against GradScaler with the same steps, some of them infinite."""
    monkeypatch.setattr(loss_scale, "PATIENCE", 3)
    weight = nn.Parameter(torch.ones(1))
    theirs, ours = torch.amp.GradScaler("cpu", growth_interval=3), LossScale(CPU, enabled=True)
    optimizer = torch.optim.SGD([weight], fused=True)
    for factor in [1, torch.inf, 1, 1, 1, torch.nan, 1, 1, 1, 1, 1, 1, 1, torch.inf]:
        optimizer.zero_grad()
        theirs.scale(weight.sum()).backward()
        weight.grad *= factor
        theirs.step(optimizer)
        theirs.update()
        ours.update(~torch.isfinite(torch.tensor(float(factor))))

        kept = {name: theirs.state_dict()[name] for name in ours.state_dict()}
        assert ours.state_dict() == kept

    restored = LossScale(CPU, enabled=True)
    restored.load_state_dict(theirs.state_dict())
    assert restored.state_dict() == ours.state_dict()


def test_a_scale_is_taken_over_only_where_both_have_one() -> None:
    lower, none = LossScale(CPU, enabled=True), LossScale(CPU, enabled=False)
    lower.update(torch.tensor(True))
    fresh = LossScale(CPU, enabled=True)

    fresh.load_state_dict(none.state_dict())
    none.load_state_dict(lower.state_dict())

    assert (float(fresh.factor), float(none.factor)) == (FIRST, 1.0)


def test_parts_of_a_batch_add_up_to_its_gradient() -> None:
    """Cross-entropy is a mean over patches, so parts must give what the whole gives."""
    torch.manual_seed(0)
    network = torch.nn.Conv3d(1, 2, 3, padding=1)
    values = {"image": torch.randn(4, 1, 4, 4, 4), "label": torch.ones(4, 2, 4, 4, 4).byte()}
    found = []
    for parts in (1, 2, 4):
        copied = copy.deepcopy(network)
        sgd = torch.optim.SGD(copied.parameters(), fused=True)
        state = TrainingState(copied, sgd, LossScale(CPU, enabled=False))
        device = Device(CPU, torch.float32)
        stepper = Stepper(DiceCE(dice=0, ce=1), False, device, clip=1e9, parts=[4 // parts] * parts)
        stepper.step(state, values, 0.1)
        found.append((stepper.finish().loss, copied.weight.detach()))

    for value, weight in found[1:]:
        assert value == pytest.approx(found[0][0], rel=1e-6)
        assert torch.allclose(weight, found[0][1], atol=1e-7)


@pytest.fixture
def backend(monkeypatch) -> Iterator[Callable[[object], None]]:
    """Sets what compiles; nothing compiled is left to other tests."""
    torch._dynamo.reset()
    yield lambda value: monkeypatch.setattr(compilation, "BACKEND", value)
    torch._dynamo.reset()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_compiled_network_takes_the_same_steps_with_weights_of_the_same_names(backend, precision) -> None:
    compiled_graphs = []

    def counting(graph, _inputs):
        compiled_graphs.append(graph)
        return graph.forward

    backend(counting)
    found = []
    for compiled in (False, True):
        training = Training(precision, parts=[1, 1], compiled=compiled)
        [training.step(batch(seed=number)) for number in range(4)]
        training.stepper.finish()
        found.append(training.weights())

    assert compiled_graphs
    assert found[0].keys() == found[1].keys()
    assert not differing(*found)


def test_a_network_that_cannot_be_compiled_is_one_line_with_the_way_out(backend) -> None:
    def fails(_graph, _inputs):
        raise RuntimeError("no C++ compiler\nand much more")

    backend(fails)
    training = Training("fp32", compiled=True)

    with pytest.raises(
        UserError, match=r"train\.compile: .*no C\+\+ compiler.*; set train\.compile=false"
    ) as caught:
        training.step(batch())

    assert len(str(caught.value).splitlines()) == 1
