"""The losses: each compares logits (B, K, X, Y, Z) with labels of the same shape (0, 1 or IGNORE)."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import NonNegativeFloat, model_validator

from volseg.masks.labels import IGNORE
from volseg.schema import Choice, Section

if TYPE_CHECKING:
    from torch import Tensor

SMOOTH = 1.0


class DiceCE(Section):
    """Weighted sum of the soft Dice loss over the whole batch and cross-entropy.

    A sigmoid a class and binary cross-entropy where classes overlap; a softmax with the background
    and categorical cross-entropy where they exclude each other: the dataset says which. Dice is of
    the classes without the background, squared in the denominator (Milletari et al. 2016) and summed
    over the batch, so that a patch without an organ does not dominate.
    """

    name: Literal["dice_ce"] = "dice_ce"
    dice: NonNegativeFloat = 0.5
    ce: NonNegativeFloat = 0.5

    @model_validator(mode="after")
    def _some(self) -> "DiceCE":
        if self.dice + self.ce == 0:
            message = "dice and ce can't both be 0"
            raise ValueError(message)
        return self

    def __call__(self, logits: "Tensor", labels: "Tensor", *, exclusive: bool) -> "Tensor":
        """The loss, a scalar in float32; what is labelled IGNORE has no weight and no gradient.

        One ignored class of a voxel hides that class, or the whole voxel if classes are exclusive:
        there it could be any of them. Labels of exclusive classes must be disjoint.
        """
        from volseg.model.logits import probabilities

        logits = logits.float()
        known = labels != IGNORE
        if exclusive:
            known = known.all(dim=1, keepdim=True)
        valid = known.float()
        truth = (known & (labels == 1)).float()
        dice = _dice(probabilities(logits, exclusive=exclusive) * valid, truth)
        entropy = _categorical if exclusive else _binary
        return self.dice * dice + self.ce * entropy(logits, truth, valid)


Loss = Annotated[DiceCE, Choice()]


def _dice(probability: "Tensor", truth: "Tensor") -> "Tensor":
    """The mean over classes of 1 - Dice, each of all voxels of the batch."""
    axes = (0, 2, 3, 4)
    overlap = 2 * (probability * truth).sum(axes) + SMOOTH
    total = (probability**2).sum(axes) + truth.sum(axes) + SMOOTH
    return 1 - (overlap / total).mean()


def _binary(logits: "Tensor", truth: "Tensor", valid: "Tensor") -> "Tensor":
    """Cross-entropy of each class by itself: the mean over valid voxels and classes."""
    from torch.nn.functional import binary_cross_entropy_with_logits

    total = binary_cross_entropy_with_logits(logits, truth, weight=valid, reduction="sum")
    return total / valid.sum().clamp(min=1)


def _categorical(logits: "Tensor", truth: "Tensor", valid: "Tensor") -> "Tensor":
    """Cross-entropy of the one true class or the background: the mean over valid voxels."""
    from volseg.model.logits import log_total

    true_logit = (logits * truth).sum(dim=1, keepdim=True)  # 0, the background's, where no class is
    return ((log_total(logits) - true_logit) * valid).sum() / valid.sum().clamp(min=1)
