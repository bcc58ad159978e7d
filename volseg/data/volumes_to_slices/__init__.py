"""The way back: volumes written as PNG slices and train.csv, the raw layout that `prepare` reads.

So any dataset of volumes can drive the raw path. What that layout can't hold is lost and told: oblique
axes, the patient's place in the scanner, further channels, and that classes never overlap.
"""

from volseg.data.volumes_to_slices.convert import ConversionResult, convert_dataset
from volseg.data.volumes_to_slices.session import SlicingOptions

__all__ = ["ConversionResult", "SlicingOptions", "convert_dataset"]
