"""The loss of labels and a teacher's probabilities together.

Where there are both, the labels' loss has the share 1 - w and the teacher's w; where there is one, it has
all. The teacher's is a soft cross-entropy, whose minimum is the teacher's own probability. That of a soft
Dice is not: it rounds what the teacher is unsure of (Wang et al. 2023, "Dice semimetric losses").
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from volseg.arrays import IGNORE
from volseg.model.losses import Loss
from volseg.model.losses.terms import log_denominator, mean_over_valid, sum_over_ranks


@dataclass(frozen=True)
class TaughtLoss:
    """A loss of labels, of which a teacher has the share `weight` where both know a voxel."""

    loss: Loss
    weight: float

    def __call__(self, logits: Tensor, targets: Tensor, *, exclusive: bool) -> Tensor:
        """The loss of logits (B, K, X, Y, Z), a scalar in float32.

        Targets are those of `join_targets`. All voxels that labels or teacher know have the same weight.
        """
        classes = logits.shape[1]
        labels, levels, taught = torch.split(targets, [classes, classes, 1], dim=1)
        labelled = labels != IGNORE
        if exclusive:
            labelled = labelled.all(dim=1, keepdim=True)
        by_labels, by_teacher = labelled.float(), taught.float()
        either = by_labels + by_teacher - by_labels * by_teacher
        of_teacher = by_teacher * (1 - by_labels * (1 - self.weight))
        entropy = soft_cross_entropy(logits.float(), levels, exclusive=exclusive) * of_teacher
        of_labels = by_labels * (1 - by_teacher * self.weight)
        entropies, shares, known = sum_over_ranks([entropy.sum(), of_labels.sum(), either.sum()])
        share = mean_over_valid(shares, known)
        return self.loss(logits, labels, exclusive=exclusive) * share + mean_over_valid(entropies, known)


def join_targets(labels: Tensor, levels: Tensor, taught: Tensor) -> Tensor:
    """What TaughtLoss learns from, uint8 (B, 2 K + 1, X, Y, Z), in which levels may be found as in labels.

    That are labels (B, K, X, Y, Z), 0, 1 or IGNORE, a teacher's probabilities of the same shape in 255ths,
    and `taught` (B, Z), which is 1 in slices that it has its say in.
    """
    slices = taught[:, None, None, None, :].expand(-1, 1, *labels.shape[2:])
    return torch.cat([labels, levels, slices], dim=1)


def soft_cross_entropy(logits: Tensor, levels: Tensor, *, exclusive: bool) -> Tensor:
    """Binary (B, K, X, Y, Z) or categorical (B, 1, X, Y, Z) cross-entropy to probabilities in 255ths.

    Maps of exclusive classes hold the sigmoid of a class's logit less its strongest rival's, which add up to
    1 or, where three and more compete, to more; then they are scaled to 1. What is left is the background's.
    """
    targets = levels.float() / 255
    if not exclusive:
        return binary_cross_entropy_with_logits(logits, targets, reduction="none")
    targets = targets / targets.sum(dim=1, keepdim=True).clamp(min=1)
    return log_denominator(logits) - (logits * targets).sum(dim=1, keepdim=True)
