"""What the losses are made of: how logits and labels compare voxel by voxel, and sums of that."""

from collections.abc import Sequence
from typing import NamedTuple, Self

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

from volseg.arrays import IGNORE
from volseg.model.distributed.process_group import all_reduce_sum


def class_probabilities(logits: Tensor, *, exclusive: bool) -> Tensor:
    """Logits (B, K, X, Y, Z) as the probability of each class, of the same shape."""
    return torch.exp(logits - log_denominator(logits)) if exclusive else torch.sigmoid(logits)


def log_denominator(logits: Tensor) -> Tensor:
    """The logarithm of the softmax's denominator, background included: (B, 1, X, Y, Z)."""
    return softplus(torch.logsumexp(logits, dim=1, keepdim=True))


SMOOTH = 1.0
"""Added to both sides of a fraction of voxel counts: a class that is nowhere costs nothing."""
AXES = (0, 2, 3, 4)
"""All but the class: a patch without an organ does not dominate what is summed over the batch."""


class LossTerms(NamedTuple):
    """A batch, all float32: `probability` and `truth` (B, K, X, Y, Z) are 0 where voxels are ignored.

    `valid` is 1 where they are not: for each class by itself or, of exclusive classes, for the whole
    voxel, (B, 1, X, Y, Z), since there the ignored one could be any of them.
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
        truth = (known & (labels == 1)).float()
        return cls(logits, class_probabilities(logits, exclusive=exclusive) * valid, truth, valid, exclusive)

    def true_positives(self) -> Tensor:
        """Of each class, the sum of its probability where it truly is: (K,)."""
        return (self.probability * self.valid_labels).sum(AXES)

    def dice_sums(self) -> tuple[Tensor, Tensor, Tensor]:
        """What `dice_loss` takes, each (K,): the overlap and both sums of squares."""
        return self.true_positives(), (self.probability**2).sum(AXES), self.valid_labels.sum(AXES)

    def cross_entropy(self) -> Tensor:
        """Of each valid voxel, 0 elsewhere: binary (B, K, X, Y, Z), or categorical (B, 1, X, Y, Z)."""
        if not self.exclusive:
            return binary_cross_entropy_with_logits(
                self.logits, self.valid_labels, weight=self.valid, reduction="none"
            )
        true_logit = (self.logits * self.valid_labels).sum(dim=1, keepdim=True)  # the background's is 0
        return (log_denominator(self.logits) - true_logit) * self.valid


def sum_over_ranks(parts: Sequence[Tensor]) -> list[Tensor]:
    """Sums (K,) or () over this rank's part of the batch as those of the whole, in one reduction."""
    flat = all_reduce_sum(torch.cat([part.reshape(-1) for part in parts]))
    pieces = torch.split(flat, [part.numel() for part in parts])
    return [piece.reshape(part.shape) for piece, part in zip(pieces, parts, strict=True)]


def dice_loss(overlap: Tensor, squares: Tensor, truth: Tensor) -> Tensor:
    """The mean over classes of 1 - Dice, with squares in the denominator (Milletari et al. 2016)."""
    return 1 - ((2 * overlap + SMOOTH) / (squares + truth + SMOOTH)).mean()


def mean_over_valid(total: Tensor, count: Tensor) -> Tensor:
    """The mean of what was summed over this many valid voxels; 0 for none."""
    return total / count.clamp(min=1)
