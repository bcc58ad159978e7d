import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from volseg.arrays import IGNORE
from volseg.model.losses import DiceCE, DiceFocal, Loss, Tversky
from volseg.model.losses.terms import SMOOTH
from volseg.schema import union_members

LOSSES = [
    *(loss() for loss in union_members(Loss).values()),
    DiceFocal(gamma=0.5),
    Tversky(alpha=0.2, beta=0.9, ce=0.5),
    DiceCE(dice_over="patch"),
    DiceFocal(dice_over="patch"),
    Tversky(over="patch"),
]
every_loss = pytest.mark.parametrize("loss", LOSSES, ids=str)
both_ways = pytest.mark.parametrize("exclusive", [False, True])


def case(
    seed: int, *, exclusive: bool = False, ignored: float = 0.0, classes: int = 3
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and labels; those of exclusive classes are disjoint, with background between them."""
    rng = np.random.default_rng(seed)
    shape = (2, classes, 4, 3, 2)
    logits = torch.tensor(rng.normal(0, 3, shape), dtype=torch.float32)
    labels = torch.tensor(rng.integers(0, 2, shape), dtype=torch.uint8)
    if exclusive:
        which = rng.integers(0, classes + 1, (2, 1, 4, 3, 2))
        labels = torch.tensor(which == np.arange(1, classes + 1).reshape(1, -1, 1, 1, 1)).byte()
    labels[torch.tensor(rng.random(labels.shape) < ignored)] = IGNORE
    return logits, labels


@every_loss
@both_ways
def test_perfect_logits_cost_nothing(loss, exclusive: bool) -> None:
    _, labels = case(0, exclusive=exclusive)

    assert loss(labels.float() * 60 - 30, labels, exclusive=exclusive) < 1e-6


@every_loss
@both_ways
def test_a_step_against_the_gradient_lowers_the_loss(loss, exclusive: bool) -> None:
    logits, labels = case(1, exclusive=exclusive, ignored=0.2)
    logits.requires_grad_()

    value = loss(logits, labels, exclusive=exclusive)
    value.backward()

    better = logits.detach() - 0.1 * logits.grad
    assert loss(better, labels, exclusive=exclusive) < value


@every_loss
@both_ways
def test_ignored_voxels_have_no_say(loss, exclusive: bool) -> None:
    """Of exclusive classes, one that is ignored hides the others at its voxel too."""
    logits, labels = case(2, exclusive=exclusive, ignored=0.2)
    logits.requires_grad_()
    hidden = labels == IGNORE
    if exclusive:
        hidden = hidden.any(dim=1, keepdim=True).expand_as(labels)

    value = loss(logits, labels, exclusive=exclusive)
    value.backward()
    changed = torch.where(hidden, logits + 5, logits).detach()

    assert loss(changed, labels, exclusive=exclusive).item() == pytest.approx(value.item(), abs=1e-7)
    assert (logits.grad[hidden] == 0).all()
    assert (logits.grad[~hidden] != 0).all()


@every_loss
@both_ways
def test_a_batch_that_is_ignored_costs_nothing(loss, exclusive: bool) -> None:
    logits, labels = case(3, exclusive=exclusive)

    value = loss(logits.requires_grad_(), torch.full_like(labels, IGNORE), exclusive=exclusive)
    value.backward()

    assert value == 0
    assert (logits.grad == 0).all()


def dice_of(p: np.ndarray, t: np.ndarray) -> float:
    """The Dice term by its formula, over (B, K, ...) without ignored voxels."""
    terms = []
    for k in range(p.shape[1]):
        pk, tk = p[:, k], t[:, k]
        terms.append((2 * (pk * tk).sum() + SMOOTH) / ((pk**2).sum() + tk.sum() + SMOOTH))
    return float(1 - np.mean(terms))


@given(st.integers(0, 999))
def test_of_overlapping_classes_it_equals_its_formula_in_numpy(seed: int) -> None:
    logits, labels = case(seed, ignored=0.2)
    x, valid = logits.double().numpy(), labels.numpy() != IGNORE
    t = np.where(valid, labels.numpy(), 0)
    p = 1 / (1 + np.exp(-x))

    bce = -(t * np.log(p) + (1 - t) * np.log(1 - p))[valid].mean()
    expected = 0.3 * dice_of(p * valid, t) + 0.7 * bce

    found = DiceCE(dice=0.3, ce=0.7)(logits, labels, exclusive=False)
    assert found.item() == pytest.approx(expected, rel=1e-5)


@given(st.integers(0, 999), st.integers(1, 4))
def test_of_exclusive_classes_it_equals_torchs_with_a_background_of_logit_zero(
    seed: int, classes: int
) -> None:
    logits, labels = case(seed, exclusive=True, ignored=0.1, classes=classes)
    whole = torch.cat([torch.zeros_like(logits[:, :1]), logits], dim=1).double()
    valid = (labels != IGNORE).all(dim=1)
    target = torch.where(valid, torch.cat([torch.zeros_like(labels[:, :1]), labels], 1).argmax(1), -1)

    ce = torch.nn.functional.cross_entropy(whole, target, ignore_index=-1)
    one_hot = torch.stack([target == k for k in range(1, classes + 1)], dim=1)
    p = torch.softmax(whole, dim=1)[:, 1:] * valid[:, None]
    expected = 0.3 * dice_of(p.numpy(), one_hot.double().numpy()) + 0.7 * ce.item()

    found = DiceCE(dice=0.3, ce=0.7)(logits, labels, exclusive=True)
    assert found.item() == pytest.approx(expected, rel=1e-5)


@given(st.integers(0, 99))
def test_one_class_alone_is_the_same_either_way(seed: int) -> None:
    """A softmax of one class and the background is a sigmoid."""
    logits, labels = case(seed, ignored=0.2, classes=1)

    either = [DiceCE()(logits, labels, exclusive=exclusive).item() for exclusive in (False, True)]

    assert either[0] == pytest.approx(either[1], rel=1e-5)


def test_overlapping_organs_are_no_contradiction() -> None:
    """A sigmoid a class: both classes may be right at one voxel, which a softmax forbids."""
    labels = torch.ones(1, 2, 2, 2, 2, dtype=torch.uint8)

    assert DiceCE()(torch.full(labels.shape, 30.0), labels, exclusive=False) < 1e-6


def test_exclusive_organs_compete() -> None:
    """Two classes that are both certain cost nothing by sigmoids, and much by a softmax."""
    labels = torch.zeros(1, 2, 2, 2, 2, dtype=torch.uint8)
    labels[:, 0] = 1

    assert DiceCE(dice=0)(torch.full(labels.shape, 30.0), labels, exclusive=True).item() == (
        pytest.approx(0.5 * np.log(2))
    )


@every_loss
@both_ways
def test_large_logits_stay_finite(loss, exclusive: bool) -> None:
    logits, labels = case(4, exclusive=exclusive)
    logits = (logits * 1e4).requires_grad_()

    value = loss(logits, labels, exclusive=exclusive)
    value.backward()

    assert torch.isfinite(value)
    assert torch.isfinite(logits.grad).all()


@every_loss
@both_ways
def test_half_precision_logits_give_a_loss_in_float32(loss, exclusive: bool) -> None:
    logits, labels = case(5, exclusive=exclusive)

    value = loss(logits.bfloat16(), labels, exclusive=exclusive)

    assert (value.dtype, value.shape) == (torch.float32, ())
    assert value == loss(logits.bfloat16().float(), labels, exclusive=exclusive)


@given(st.integers(0, 999), st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.5]))
def test_the_focal_term_of_overlapping_classes_equals_its_formula_in_numpy(seed: int, gamma: float) -> None:
    logits, labels = case(seed, ignored=0.2)
    x, valid = logits.double().numpy(), labels.numpy() != IGNORE
    t = np.where(valid, labels.numpy(), 0)
    p = 1 / (1 + np.exp(-x))
    true = np.where(t == 1, p, 1 - p)

    focal = (-((1 - true) ** gamma) * np.log(true))[valid].mean()
    expected = 0.3 * dice_of(p * valid, t) + 0.7 * focal

    found = DiceFocal(dice=0.3, focal=0.7, gamma=gamma)(logits, labels, exclusive=False)
    assert found.item() == pytest.approx(expected, rel=1e-5)


PER_PATCH = [(DiceCE, "dice_over", {"ce": 0}), (DiceFocal, "dice_over", {"focal": 0}), (Tversky, "over", {})]


@pytest.mark.parametrize(("loss", "setting", "rest"), PER_PATCH)
@both_ways
def test_over_a_patch_the_overlap_is_the_mean_of_those_of_patches_alone(
    loss, setting: str, rest: dict, exclusive: bool
) -> None:
    """Of one patch both are the same; of several the batch's is that of the joined patch."""
    logits, labels = case(6, exclusive=exclusive, ignored=0.2)
    patches = zip(logits.split(1), labels.split(1), strict=True)
    over_batch, over_patch = (loss(**{setting: over}, **rest) for over in ("batch", "patch"))

    alone = [over_batch(*one, exclusive=exclusive).item() for one in patches]
    joined = [torch.cat(values.split(1), dim=2) for values in (logits, labels)]

    found = over_patch(logits, labels, exclusive=exclusive).item()
    assert found == pytest.approx(np.mean(alone), rel=1e-6)
    assert found != pytest.approx(over_batch(logits, labels, exclusive=exclusive).item(), rel=1e-3)
    assert over_patch(*joined, exclusive=exclusive).item() == pytest.approx(
        over_batch(logits, labels, exclusive=exclusive).item(), rel=1e-6
    )


@given(st.integers(0, 999))
def test_dice_over_patches_equals_monais(seed: int) -> None:
    from monai.losses import DiceLoss

    logits, labels = case(seed)
    theirs = DiceLoss(sigmoid=True, squared_pred=True, smooth_nr=SMOOTH, smooth_dr=SMOOTH)

    found = DiceCE(dice=1, ce=0, dice_over="patch")(logits, labels, exclusive=False)

    assert found.item() == pytest.approx(theirs(logits, labels.float()).item(), rel=1e-5)


def with_background(logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Logits of K classes and their labels as K + 1 in double precision: the background first."""
    nothing = 1 - labels.sum(dim=1, keepdim=True)
    return (
        torch.cat([torch.zeros_like(logits[:, :1]), logits], dim=1).double(),
        torch.cat([nothing, labels], dim=1).double(),
    )


@given(st.integers(0, 999), st.sampled_from([0.5, 2.0, 3.0]))
def test_dice_with_the_focal_loss_equals_monais(seed: int, gamma: float) -> None:
    """MONAI takes the mean over classes and voxels: K + 1 times less than a voxel's."""
    from monai.losses import DiceLoss, FocalLoss

    settings = {"squared_pred": True, "batch": True, "smooth_nr": SMOOTH, "smooth_dr": SMOOTH}
    ours = DiceFocal(dice=1, focal=1, gamma=gamma)

    x, t = case(seed)
    theirs = DiceLoss(sigmoid=True, **settings)(x, t.float()) + FocalLoss(gamma=gamma)(x, t)
    assert ours(x, t, exclusive=False).item() == pytest.approx(theirs.item(), rel=1e-5)

    x, t = case(seed, exclusive=True)
    dice = DiceLoss(softmax=True, include_background=False, **settings)
    focal = FocalLoss(gamma=gamma, use_softmax=True)
    whole = with_background(x, t)
    theirs = dice(*whole) + 4 * focal(*whole)
    assert ours(x, t, exclusive=True).item() == pytest.approx(theirs.item(), rel=1e-5)


@given(st.integers(0, 999), st.floats(0.1, 1), st.floats(0.1, 1))
def test_the_tversky_loss_equals_monais(seed: int, alpha: float, beta: float) -> None:
    from monai.losses import TverskyLoss

    settings = {"alpha": alpha, "beta": beta, "batch": True, "smooth_nr": 1, "smooth_dr": 1}
    ours = Tversky(alpha=alpha, beta=beta)

    x, t = case(seed)
    theirs = TverskyLoss(sigmoid=True, **settings)(x, t)
    assert ours(x, t, exclusive=False).item() == pytest.approx(theirs.item(), rel=1e-5)

    x, t = case(seed, exclusive=True)
    theirs = TverskyLoss(softmax=True, include_background=False, **settings)(*with_background(x, t))
    assert ours(x, t, exclusive=True).item() == pytest.approx(theirs.item(), rel=1e-5)


@given(st.integers(0, 99))
@both_ways
def test_the_entropy_that_others_name_too_is_that_of_dice_ce(exclusive: bool, seed: int) -> None:
    """The focal loss of gamma 0 is all of dice_ce; what `ce` adds to Tversky is its entropy."""
    logits, labels = case(seed, exclusive=exclusive, ignored=0.2)

    def cost(loss) -> float:
        return loss(logits, labels, exclusive=exclusive).item()

    added = cost(Tversky(ce=0.7)) - cost(Tversky())
    assert cost(DiceFocal(gamma=0)) == pytest.approx(cost(DiceCE()), rel=1e-6)
    assert added == pytest.approx(0.7 * cost(DiceCE(dice=0, ce=1)), rel=1e-4)


def test_what_is_missed_costs_more_than_what_is_invented_where_beta_is_larger() -> None:
    """By hand, with 100 voxels of organ: 50 missed or 50 invented, each probability 0 or 1."""
    labels = torch.zeros(1, 1, 4, 5, 10, dtype=torch.uint8)
    labels[:, :, :2] = 1
    less, more = (torch.full(labels.shape, -100.0) for _ in range(2))
    less[:, :, :1], more[:, :, :3] = 100, 100

    missed = Tversky(alpha=0.3, beta=0.7)(less, labels, exclusive=False)
    invented = Tversky(alpha=0.3, beta=0.7)(more, labels, exclusive=False)

    assert missed.item() == pytest.approx(1 - (50 + SMOOTH) / (50 + 0.7 * 50 + SMOOTH))
    assert invented.item() == pytest.approx(1 - (100 + SMOOTH) / (100 + 0.3 * 50 + SMOOTH))


@pytest.mark.parametrize(
    ("loss", "parts"), [(DiceCE, {"dice": 0, "ce": 0}), (DiceFocal, {"dice": 0, "focal": 0})]
)
def test_a_loss_without_parts_is_refused(loss, parts: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="can't both be 0"):
        loss(**parts)
