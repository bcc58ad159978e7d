import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from volseg.masks.labels import IGNORE
from volseg.model.losses import SMOOTH, DiceBCE, Loss
from volseg.schema import members

LOSSES = [loss() for loss in members(Loss).values()]


def case(seed: int, ignored: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    logits = torch.tensor(rng.normal(0, 3, (2, 3, 4, 3, 2)), dtype=torch.float32)
    labels = torch.tensor(rng.integers(0, 2, (2, 3, 4, 3, 2)), dtype=torch.uint8)
    labels[torch.tensor(rng.random(labels.shape) < ignored)] = IGNORE
    return logits, labels


@pytest.mark.parametrize("loss", LOSSES)
def test_perfect_logits_cost_nothing(loss) -> None:
    _, labels = case(0)

    assert loss(labels.float() * 60 - 30, labels) < 1e-6


@pytest.mark.parametrize("loss", LOSSES)
def test_a_step_against_the_gradient_lowers_the_loss(loss) -> None:
    logits, labels = case(1, ignored=0.2)
    logits.requires_grad_()

    value = loss(logits, labels)
    value.backward()

    assert loss(logits.detach() - 0.1 * logits.grad, labels) < value


@pytest.mark.parametrize("loss", LOSSES)
def test_ignored_voxels_have_no_say(loss) -> None:
    logits, labels = case(2, ignored=0.3)
    logits.requires_grad_()
    hidden = labels == IGNORE

    value = loss(logits, labels)
    value.backward()
    changed = torch.where(hidden, logits + 5, logits).detach()

    assert loss(changed, labels).item() == pytest.approx(value.item(), abs=1e-7)
    assert (logits.grad[hidden] == 0).all()


@given(st.integers(0, 999))
def test_dice_bce_equals_its_formula_in_numpy(seed: int) -> None:
    logits, labels = case(seed, ignored=0.2)
    x, valid = logits.double().numpy(), labels.numpy() != IGNORE
    t = np.where(valid, labels.numpy(), 0)
    p = 1 / (1 + np.exp(-x))

    bce = -(t * np.log(p) + (1 - t) * np.log(1 - p))[valid].mean()
    terms = []
    for k in range(3):
        pk, tk = (p * valid)[:, k], t[:, k]
        terms.append((2 * (pk * tk).sum() + SMOOTH) / ((pk**2).sum() + tk.sum() + SMOOTH))
    expected = 0.3 * (1 - np.mean(terms)) + 0.7 * bce

    assert DiceBCE(dice=0.3, bce=0.7)(logits, labels).item() == pytest.approx(expected, rel=1e-5)


def test_overlapping_organs_are_no_contradiction() -> None:
    """A sigmoid a class: both classes may be right at one voxel, which a softmax forbids."""
    labels = torch.ones(1, 2, 2, 2, 2, dtype=torch.uint8)

    assert DiceBCE()(torch.full(labels.shape, 30.0), labels) < 1e-6


def test_a_loss_without_parts_is_refused() -> None:
    with pytest.raises(ValueError, match="can't both be 0"):
        DiceBCE(dice=0, bce=0)
