"""The losses: each compares logits (B, K, X, Y, Z) with labels of the same shape (0, 1 or IGNORE)."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import NonNegativeFloat, model_validator

from volseg.masks.labels import IGNORE
from volseg.schema import Choice, Section

if TYPE_CHECKING:
    from torch import Tensor

SMOOTH = 1.0


class DiceBCE(Section):
    """Weighted sum of the soft Dice loss over the whole batch and binary cross-entropy.

    One sigmoid a class, never a softmax: organs overlap in the real labels. Dice is squared in the
    denominator (Milletari et al. 2016) and summed over the batch, so that a patch without an organ
    does not dominate.
    """

    name: Literal["dice_bce"] = "dice_bce"
    dice: NonNegativeFloat = 0.5
    bce: NonNegativeFloat = 0.5

    @model_validator(mode="after")
    def _some(self) -> "DiceBCE":
        if self.dice + self.bce == 0:
            message = "dice and bce can't both be 0"
            raise ValueError(message)
        return self

    def __call__(self, logits: "Tensor", labels: "Tensor") -> "Tensor":
        """The loss, a scalar in float32; voxels labelled IGNORE have no weight and no gradient."""
        import torch
        from torch.nn.functional import binary_cross_entropy_with_logits

        logits = logits.float()
        valid = (labels != IGNORE).float()
        truth = (labels == 1).float()
        bce = binary_cross_entropy_with_logits(logits, truth, weight=valid, reduction="sum")
        probability = torch.sigmoid(logits) * valid
        axes = (0, 2, 3, 4)
        overlap = 2 * (probability * truth).sum(axes) + SMOOTH
        total = (probability**2).sum(axes) + truth.sum(axes) + SMOOTH
        dice = 1 - (overlap / total).mean()
        return self.dice * dice + self.bce * bce / valid.sum().clamp(min=1)


Loss = Annotated[DiceBCE, Choice()]
