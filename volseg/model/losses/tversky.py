"""The Tversky loss."""

from typing import TYPE_CHECKING, Literal

from pydantic import NonNegativeFloat, PositiveFloat

from volseg.schema import Section

if TYPE_CHECKING:
    from torch import Tensor


class Tversky(Section):
    """Tversky loss: like Dice, with false positives weighted by alpha and false negatives by beta.

    The mean over classes of 1 - TP / (TP + alpha FP + beta FN), of probabilities (Salehi et al.
    2017): with beta above alpha more is found and more is invented; 0.5 and 0.5 are Dice without
    squares. `over` says whether sums go over all patches of a batch or over each, as `dice_over`
    of `dice_ce`. `ce` is the weight of cross-entropy, as in `dice_ce`, to be added.
    """

    name: Literal["tversky"] = "tversky"
    alpha: PositiveFloat = 0.3
    beta: PositiveFloat = 0.7
    ce: NonNegativeFloat = 0.0
    over: Literal["batch", "patch"] = "batch"

    def __call__(self, logits: "Tensor", labels: "Tensor", *, exclusive: bool) -> "Tensor":
        """The loss, a scalar in float32; voxels labelled IGNORE have no weight and no gradient."""
        from volseg.model.losses import terms

        batch = terms.LossTerms.from_logits(logits, labels, exclusive=exclusive)
        index = terms.OverlapLoss(self._index, self.over)
        axes = index.axes
        sums = (batch.true_positives(axes), batch.probability.sum(axes), batch.valid_labels.sum(axes))
        parts = (*index.rank_sums(sums), batch.cross_entropy().sum(), batch.valid.sum())
        *totals, entropy, valid = terms.sum_over_ranks(parts)
        return index.loss(totals) + self.ce * terms.mean_over_valid(entropy, valid)

    def _index(self, tp: "Tensor", predicted: "Tensor", labelled: "Tensor") -> "Tensor":
        """The Tversky index of each class."""
        from volseg.model.losses.terms import SMOOTH

        errors = self.alpha * (predicted - tp) + self.beta * (labelled - tp)
        return (tp + SMOOTH) / (tp + errors + SMOOTH)
