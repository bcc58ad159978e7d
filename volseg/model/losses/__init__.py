"""Losses of logits (B, K, X, Y, Z) and labels of the same shape (0, 1 or IGNORE).

Each is the loss of the global batch: where several processes train together, its sums are taken over
all of them, so that it does not depend on how the batch is distributed.
"""

from typing import Annotated

from volseg.model.losses.dice_ce import DiceCE
from volseg.model.losses.dice_focal import DiceFocal
from volseg.model.losses.tversky import Tversky
from volseg.schema import NamedUnion

__all__ = ["DiceCE", "DiceFocal", "Loss", "Tversky"]

Loss = Annotated[DiceCE | DiceFocal | Tversky, NamedUnion("volseg.losses", needs=("__call__",))]
