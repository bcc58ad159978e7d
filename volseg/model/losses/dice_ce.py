"""Dice with cross-entropy."""

from typing import TYPE_CHECKING, Literal

from pydantic import NonNegativeFloat, model_validator

from volseg.schema import Section

if TYPE_CHECKING:
    from torch import Tensor


class DiceCE(Section):
    """Dice + cross-entropy: Dice+BCE where classes overlap, Dice+CE where they exclude each other.

    The dataset says which: a sigmoid a class and binary cross-entropy, or a softmax with the
    background and the categorical one. Dice is of the classes without the background, squared in the
    denominator (Milletari et al. 2016) and summed over the batch. `dice` and `ce` are weights.
    """

    name: Literal["dice_ce"] = "dice_ce"
    dice: NonNegativeFloat = 0.5
    ce: NonNegativeFloat = 0.5

    @model_validator(mode="after")
    def _check_weights(self) -> "DiceCE":
        if self.dice + self.ce == 0:
            raise ValueError("dice and ce can't both be 0")
        return self

    def __call__(self, logits: "Tensor", labels: "Tensor", *, exclusive: bool) -> "Tensor":
        """The loss, a scalar in float32; voxels labelled IGNORE have no weight and no gradient."""
        from volseg.model.losses.terms import LossTerms, dice_loss, mean_over_valid, sum_over_ranks

        batch = LossTerms.from_logits(logits, labels, exclusive=exclusive)
        sums = (*batch.dice_sums(), batch.cross_entropy().sum(), batch.valid.sum())
        *counts, entropy, valid = sum_over_ranks(sums)
        return self.dice * dice_loss(*counts) + self.ce * mean_over_valid(entropy, valid)
