"""What every network states beside its own settings."""

from pathlib import Path

from volseg.schema import Section

Reach = tuple[int, int, int]


class NetworkSection(Section):
    """The settings of a network; it states the stride of its input, and builds the network."""

    @property
    def reach(self) -> Reach:
        """The voxels (x, y, z) beyond an output voxel that the network must truly see.

        A reach along z is a promise too: slices further away have no influence. (0, 0, 0) promises nothing.
        """
        return (0, 0, 0)

    @property
    def encoder_weights(self) -> Path | None:
        """The file of weights that the encoder starts from; None: random ones."""
        return None
