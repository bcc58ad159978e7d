"""A loss: one minus the Jaccard index."""

from typing import TYPE_CHECKING, Literal

from volseg.schema import Section

if TYPE_CHECKING:
    from torch import Tensor


class Jaccard(Section):
    """One minus intersection over union of probabilities and labels, the mean over classes."""

    name: Literal["jaccard"] = "jaccard"

    def __call__(self, logits: "Tensor", labels: "Tensor", *, exclusive: bool) -> "Tensor":
        """The loss of logits and labels (B, K, X, Y, Z), a scalar; voxels labelled IGNORE have no say."""
        from volseg.model.losses import terms

        batch = terms.LossTerms.from_logits(logits, labels, exclusive=exclusive)
        index = terms.OverlapLoss(self._index, "batch")
        axes = index.axes
        sums = (batch.true_positives(axes), batch.probability.sum(axes), batch.valid_labels.sum(axes))
        return index.loss(terms.sum_over_ranks(index.rank_sums(sums)))

    def _index(self, shared: "Tensor", predicted: "Tensor", labelled: "Tensor") -> "Tensor":
        from volseg.model.losses.terms import SMOOTH

        return (shared + SMOOTH) / (predicted + labelled - shared + SMOOTH)
