"""Volumes written as PNG slices and train.csv, the raw layout that `prepare` reads.

Warnings tell of all that the layout can't hold: oblique axes, the patient's place in the scanner, further
channels, and that classes never overlap.
"""

from volseg.data.volumes_to_slices.convert import ConversionResult, convert_dataset
from volseg.data.volumes_to_slices.session import SlicingOptions

__all__ = ["ConversionResult", "SlicingOptions", "convert_dataset"]
