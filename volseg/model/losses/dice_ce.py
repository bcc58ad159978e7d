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
    denominator (Milletari et al. 2016). Its sums go over all patches of a batch (nnU-Net's batch
    Dice), or with `dice_over: patch` over each, of which the mean is taken. `dice` and `ce` are
    weights.
    """

    name: Literal["dice_ce"] = "dice_ce"
    dice: NonNegativeFloat = 0.5
    ce: NonNegativeFloat = 0.5
    dice_over: Literal["batch", "patch"] = "batch"

    @model_validator(mode="after")
    def _check_weights(self) -> "DiceCE":
        if self.dice + self.ce == 0:
            raise ValueError("dice and ce can't both be 0")
        return self

    def __call__(self, logits: "Tensor", labels: "Tensor", *, exclusive: bool) -> "Tensor":
        """The loss, a scalar in float32; voxels labelled IGNORE have no weight and no gradient."""
        from volseg.model.losses import terms

        batch = terms.LossTerms.from_logits(logits, labels, exclusive=exclusive)
        dice = terms.OverlapLoss(terms.dice_score, self.dice_over)
        sums = dice.rank_sums(batch.dice_sums(dice.axes))
        *totals, entropy, valid = terms.sum_over_ranks(
            (*sums, batch.cross_entropy().sum(), batch.valid.sum())
        )
        return self.dice * dice.loss(totals) + self.ce * terms.mean_over_valid(entropy, valid)
