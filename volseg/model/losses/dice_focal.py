"""Dice with the focal loss."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field, NonNegativeFloat, model_validator

from volseg.schema import Section

if TYPE_CHECKING:
    from torch import Tensor

TINY = 1e-12
"""Below it (1 - p)^gamma is constant, since for gamma < 1 its slope at 0 is infinite."""


class DiceFocal(Section):
    """Dice + focal loss: cross-entropy times (1 - p)^gamma, p the probability of what is true.

    So what is learnt already counts little (Lin et al. 2017); gamma 0 is `dice_ce`. Dice and the
    entropy, binary or categorical as the dataset says, are those of `dice_ce`, and the focal term is
    their mean over voxels too. `dice` and `focal` are weights.
    """

    name: Literal["dice_focal"] = "dice_focal"
    dice: NonNegativeFloat = 0.5
    focal: NonNegativeFloat = 0.5
    gamma: float = Field(default=2.0, ge=0, le=10)
    dice_over: Literal["batch", "patch"] = "batch"

    @model_validator(mode="after")
    def _check_weights(self) -> "DiceFocal":
        if self.dice + self.focal == 0:
            raise ValueError("dice and focal can't both be 0")
        return self

    def __call__(self, logits: "Tensor", labels: "Tensor", *, exclusive: bool) -> "Tensor":
        """The loss, a scalar in float32; voxels labelled IGNORE have no weight and no gradient."""
        from volseg.model.losses import terms

        batch = terms.LossTerms.from_logits(logits, labels, exclusive=exclusive)
        entropy = batch.cross_entropy()
        complement = -(-entropy).expm1()  # 1 - p, exact where p is close to 1
        focal = entropy * complement.clamp(min=TINY) ** self.gamma
        dice = terms.OverlapLoss(terms.dice_score, self.dice_over)
        sums = dice.rank_sums(batch.dice_sums(dice.axes))
        *totals, total, valid = terms.sum_over_ranks((*sums, focal.sum(), batch.valid.sum()))
        return self.dice * dice.loss(totals) + self.focal * terms.mean_over_valid(total, valid)
