"""The Tversky loss."""

from typing import TYPE_CHECKING, Literal

from pydantic import NonNegativeFloat, PositiveFloat

from volseg.schema import Section

if TYPE_CHECKING:
    from torch import Tensor


class Tversky(Section):
    """Tversky loss: like Dice, with false positives weighted by alpha and false negatives by beta.

    The mean over classes of 1 - TP / (TP + alpha FP + beta FN), of probabilities summed over the
    batch (Salehi et al. 2017): with beta above alpha more is found and more is invented; 0.5 and 0.5
    are Dice without squares. `ce` is the weight of cross-entropy, as in `dice_ce`, to be added.
    """

    name: Literal["tversky"] = "tversky"
    alpha: PositiveFloat = 0.3
    beta: PositiveFloat = 0.7
    ce: NonNegativeFloat = 0.0

    def __call__(self, logits: "Tensor", labels: "Tensor", *, exclusive: bool) -> "Tensor":
        """The loss, a scalar in float32; voxels labelled IGNORE have no weight and no gradient."""
        from volseg.model.losses.terms import AXES, SMOOTH, LossTerms, mean_over_valid, sum_over_ranks

        batch = LossTerms.from_logits(logits, labels, exclusive=exclusive)
        sums = (batch.true_positives(), batch.probability.sum(AXES), batch.valid_labels.sum(AXES))
        entropy = batch.cross_entropy().sum()
        tp, predicted, labelled, entropy, valid = sum_over_ranks((*sums, entropy, batch.valid.sum()))
        errors = self.alpha * (predicted - tp) + self.beta * (labelled - tp)
        index = (tp + SMOOTH) / (tp + errors + SMOOTH)
        return 1 - index.mean() + self.ce * mean_over_valid(entropy, valid)
