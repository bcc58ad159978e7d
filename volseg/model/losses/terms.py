"""The terms of the losses: probabilities and valid labels voxel by voxel, and their sums over the batch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Self

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

from volseg.arrays import IGNORE
from volseg.model.distributed.process_group import all_reduce_sum

SMOOTH = 1.0
"""Added to numerator and denominator, in voxels, so that a class that is nowhere costs nothing."""
VOXELS = (2, 3, 4)
"""The axes of voxels."""


def class_probabilities(logits: Tensor, *, exclusive: bool) -> Tensor:
    """The probability of each class, (B, K, X, Y, Z), of logits of that shape."""
    return torch.exp(logits - log_denominator(logits)) if exclusive else torch.sigmoid(logits)


def log_denominator(logits: Tensor) -> Tensor:
    """The logarithm of the softmax's denominator, background included: (B, 1, X, Y, Z)."""
    return softplus(torch.logsumexp(logits, dim=1, keepdim=True))


class LossTerms(NamedTuple):
    """A batch in float32; `probability` and `valid_labels` (B, K, X, Y, Z) are 0 in ignored voxels.

    `valid` is 0 in ignored voxels and 1 elsewhere: (B, K, X, Y, Z) or, of exclusive classes, of which an
    ignored voxel may hold any, (B, 1, X, Y, Z).
    """

    logits: Tensor
    probability: Tensor
    valid_labels: Tensor
    valid: Tensor
    exclusive: bool

    @classmethod
    def from_logits(cls, logits: Tensor, labels: Tensor, *, exclusive: bool) -> Self:
        """Logits and labels (B, K, X, Y, Z); labels of exclusive classes must be disjoint."""
        logits = logits.float()
        known = labels != IGNORE
        if exclusive:
            known = known.all(dim=1, keepdim=True)
        valid = known.float()
        valid_labels = (known & (labels == 1)).float()
        probability = class_probabilities(logits, exclusive=exclusive) * valid
        return cls(logits, probability, valid_labels, valid, exclusive)

    def true_positives(self, axes: tuple[int, ...]) -> Tensor:
        """The sum of each class's probability within its labels, (K,) or (B, K)."""
        return (self.probability * self.valid_labels).sum(axes)

    def dice_sums(self, axes: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
        """The arguments of `dice_score`, each (K,) or (B, K): the overlap and both sums of squares."""
        return self.true_positives(axes), (self.probability**2).sum(axes), self.valid_labels.sum(axes)

    def cross_entropy(self) -> Tensor:
        """Binary (B, K, X, Y, Z) or categorical (B, 1, X, Y, Z) cross-entropy, 0 in ignored voxels."""
        if not self.exclusive:
            return binary_cross_entropy_with_logits(
                self.logits, self.valid_labels, weight=self.valid, reduction="none"
            )
        true_logit = (self.logits * self.valid_labels).sum(dim=1, keepdim=True)  # the background's is 0
        return (log_denominator(self.logits) - true_logit) * self.valid


def sum_over_ranks(parts: Sequence[Tensor]) -> list[Tensor]:
    """Sums (K,) or () over the global batch of those over this rank's part, in one reduction."""
    flat = all_reduce_sum(torch.cat([part.reshape(-1) for part in parts]))
    sums = torch.split(flat, [part.numel() for part in parts])
    return [total.reshape(part.shape) for total, part in zip(sums, parts, strict=True)]


@dataclass(frozen=True)
class OverlapLoss:
    """1 less the mean over classes of a `score` of sums over voxels.

    `over` the batch the sums are those of all its patches, so that a patch without a class does not
    dominate; `over` a patch each patch has scores of its own, of which the mean is taken.
    """

    score: Callable[..., Tensor]
    over: Literal["batch", "patch"]

    @property
    def axes(self) -> tuple[int, ...]:
        """The axes of (B, K, X, Y, Z) to sum over."""
        return (0, *VOXELS) if self.over == "batch" else VOXELS

    def rank_sums(self, sums: Sequence[Tensor]) -> Sequence[Tensor]:
        """What to add up over ranks, of this rank's sums over `axes`."""
        if self.over == "batch":
            return sums
        scores = self.score(*sums)
        return scores.sum(dim=0), scores.new_full((), len(scores))

    def loss(self, totals: Sequence[Tensor]) -> Tensor:
        """The loss, a scalar, from the totals of `rank_sums` over ranks."""
        if self.over == "batch":
            return 1 - self.score(*totals).mean()
        scores, patches = totals
        return 1 - (scores / patches).mean()


def dice_score(overlap: Tensor, squares: Tensor, labelled: Tensor) -> Tensor:
    """Dice of each class, with squares in the denominator (Milletari et al. 2016)."""
    return (2 * overlap + SMOOTH) / (squares + labelled + SMOOTH)


def mean_over_valid(total: Tensor, count: Tensor) -> Tensor:
    """The mean of a total over `count` valid voxels; 0 of none."""
    return total / count.clamp(min=1)
