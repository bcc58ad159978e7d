"""Deep supervision: coarser levels of a decoder give logits too, which the loss judges in training."""

from abc import abstractmethod

from pydantic import Field, PositiveFloat, model_validator

from volseg.model.networks.interface import NetworkSection
from volseg.schema import Section


class DeepSupervision(NetworkSection):
    """Settings of a network that may return logits of several levels in training.

    In training mode the network then returns a tuple, finest level first, and in evaluation the finest
    alone. `level_weights` are the weights of their losses, finest first and as many as there are logits;
    None is 1, 1/2, 1/4, ... of the levels that the network offers. They are scaled to the sum 1.
    """

    deep_supervision: bool = False
    level_weights: tuple[PositiveFloat, ...] | None = Field(default=None, min_length=2)

    @property
    @abstractmethod
    def supervised_levels(self) -> tuple[int, int]:
        """The number of levels that give logits by default, and at most."""

    @property
    def outputs(self) -> int:
        """The logits that the network returns in training."""
        if not self.deep_supervision:
            return 1
        return len(self.level_weights) if self.level_weights else self.supervised_levels[0]

    @model_validator(mode="after")
    def _check_level_weights(self) -> "DeepSupervision":
        if self.level_weights is None:
            return self
        if not self.deep_supervision:
            raise ValueError("level_weights: set deep_supervision: true too")
        most = self.supervised_levels[1]
        if len(self.level_weights) > most:
            raise ValueError(f"level_weights: {most} levels give logits (got {len(self.level_weights)})")
        return self


def decoder_levels(levels: int) -> tuple[int, int]:
    """The supervised levels of a U-Net of `levels` levels: by default all of the decoder but its coarsest.

    So in nnU-Net (Isensee et al. 2021), which gives the coarsest no weight; two at least.
    """
    return max(2, levels - 2), levels - 1


def level_weights(network: Section) -> tuple[float, ...] | None:
    """The weights of the losses of a network's levels as its settings name them; None: they don't."""
    return network.level_weights if isinstance(network, DeepSupervision) else None
