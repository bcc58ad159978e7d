"""Laws of the loss of labels and a teacher together."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from volseg.arrays import IGNORE
from volseg.inference.probability_maps import decision_margins
from volseg.model.losses import DiceCE
from volseg.model.losses.levels import at_level
from volseg.model.losses.terms import class_probabilities
from volseg.training.taught_loss import TaughtLoss, join_targets, soft_cross_entropy

SHAPE = (2, 3, 4, 3, 2)
ENTROPY, USUAL = DiceCE(dice=0, ce=1), DiceCE()
BOTH = pytest.mark.parametrize("exclusive", [False, True])


def logits(seed: int = 0) -> Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed)) * 2


def masks(seed: int = 1) -> Tensor:
    """Disjoint labels, which overlapping classes may have as well."""
    number = torch.randint(0, 4, SHAPE[:1] + SHAPE[2:], generator=torch.Generator().manual_seed(seed))
    return torch.stack([number == k for k in (1, 2, 3)], dim=1).to(torch.uint8)


def maps(seed: int = 2) -> Tensor:
    drawn = torch.randint(0, 256, SHAPE, generator=torch.Generator().manual_seed(seed))
    return drawn.to(torch.uint8)


def loss(
    labels: Tensor, levels: Tensor, *, weight=0.5, taught=(1.0, 1.0), usual=USUAL, exclusive=False
) -> Tensor:
    slices = torch.tensor(taught).to(torch.uint8)[:, None].expand(-1, SHAPE[-1])
    targets = join_targets(labels, levels, slices)
    return TaughtLoss(usual, weight)(logits(), targets, exclusive=exclusive)


@BOTH
@given(st.floats(0, 1))
def test_a_teacher_that_repeats_the_labels_changes_no_cross_entropy(exclusive: bool, weight: float) -> None:
    labels = masks()

    found = loss(labels, labels * 255, weight=weight, usual=ENTROPY, exclusive=exclusive)

    assert float(found) == pytest.approx(float(ENTROPY(logits(), labels, exclusive=exclusive)), rel=1e-5)


@BOTH
def test_without_maps_the_loss_is_that_of_the_labels_bit_for_bit(exclusive: bool) -> None:
    labels = masks()
    labels[..., 1:] = IGNORE

    found = loss(labels, maps(), taught=(0.0, 0.0), exclusive=exclusive)

    assert found.equal(USUAL(logits(), labels, exclusive=exclusive))


@BOTH
@pytest.mark.parametrize("weight", [0.1, 0.9])
def test_without_labels_the_teacher_has_all_of_it(exclusive: bool, weight: float) -> None:
    nothing, levels = torch.full(SHAPE, IGNORE, dtype=torch.uint8), maps()

    found = loss(nothing, levels, weight=weight, exclusive=exclusive)

    assert found.isfinite()
    assert float(found) == pytest.approx(
        float(soft_cross_entropy(logits(), levels, exclusive=exclusive).mean())
    )


def test_each_voxel_learns_from_those_who_know_it() -> None:
    """Patch 0 is taught, and labelled above a cut; patch 1 is labelled only. In numpy."""
    labels, levels, weight = masks(), maps(), 0.25
    labels[0, ..., 1] = IGNORE
    z, t = logits().numpy().astype(float), levels.numpy() / 255
    known = labels.numpy() != IGNORE
    by_labels, by_teacher = (np.log1p(np.exp(z)) - z * target for target in (labels.numpy() * known, t))
    of_labels = by_labels.mean(where=known) * (0.75 * known[0].sum() + known[1].sum())
    of_teacher = weight * by_teacher[0].sum(where=known[0]) + by_teacher[0].sum(where=~known[0])

    found = loss(labels, levels, weight=weight, taught=(1.0, 0.0), usual=ENTROPY)

    assert float(found) == pytest.approx((of_labels + of_teacher) / known.size, rel=1e-5)


@BOTH
def test_the_minimum_is_the_teachers_own_probability(exclusive: bool) -> None:
    own = logits().double()
    probability = class_probabilities(own, exclusive=exclusive)
    levels = probability * 255  # not rounded, to see the minimum itself
    own.requires_grad_()

    soft_cross_entropy(own, levels, exclusive=exclusive).sum().backward()

    assert own.grad.abs().max() < 1e-6


def test_maps_of_two_exclusive_classes_that_compete_are_their_softmax() -> None:
    """As the predictor writes them: 8 logits apart from the others, two classes share a voxel."""
    sums = np.array([[0.5], [-0.3], [-8.0]]) + np.array([[8.0], [8.0], [0.0]])
    margins = np.stack([*decision_margins((sums * 256).astype(np.int16)[..., None, None], exclusive=True)])
    written = torch.from_numpy(1 / (1 + np.exp(-margins / 256)))[None]
    softmax = class_probabilities(torch.from_numpy(sums)[None, ..., None, None], exclusive=True)
    anyone = torch.zeros(1, 3, 1, 1, 1, dtype=torch.float64, requires_grad=True)

    soft_cross_entropy(anyone, written * 255, exclusive=True).sum().backward()
    targets = class_probabilities(anyone.detach(), exclusive=True) - anyone.grad

    assert torch.allclose(targets, softmax, atol=2e-3)


def test_at_a_coarser_level_the_teacher_is_read_at_the_voxels_of_the_labels() -> None:
    """Of the slices 0 to 3 the level has 0 and 2, in which only the second is taught."""
    shape = (1, 3, 4, 4, 4)
    rng = torch.Generator().manual_seed(3)
    levels = torch.randint(0, 256, shape, generator=rng).to(torch.uint8)
    nothing = torch.full_like(levels, IGNORE)
    targets = join_targets(nothing, levels, torch.tensor([[0, 1, 1, 1]], dtype=torch.uint8))
    coarse = torch.randn(1, 3, 2, 2, 2, generator=rng)

    found = TaughtLoss(USUAL, 0.5)(coarse, at_level(targets, (2, 2, 2)), exclusive=False)

    expected = soft_cross_entropy(coarse[..., 1:], levels[..., ::2, ::2, 2:3], exclusive=False).mean()
    assert float(found) == pytest.approx(float(expected))
