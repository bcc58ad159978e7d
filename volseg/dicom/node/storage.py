"""What the node takes: classes of images, and the transfer syntaxes that volseg can read."""

from volseg.data.layouts.dicom.headers import RTSTRUCT

MR, ENHANCED_MR, CT = (f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("4", "4.1", "2"))
IMAGE_CLASSES = {MR: "MR Image Storage", ENHANCED_MR: "Enhanced MR Image Storage", CT: "CT Image Storage"}
"""SOP classes by UID."""

RESULT_CLASSES = {"RTSTRUCT": RTSTRUCT, "SEG": "1.2.840.10008.5.1.4.1.1.66.4"}
"""SOP classes that the node sends, by modality."""

TRANSFER_SYNTAXES = {
    "1.2.840.10008.1.2.1": "Explicit VR Little Endian",
    "1.2.840.10008.1.2": "Implicit VR Little Endian",
    "1.2.840.10008.1.2.2": "Explicit VR Big Endian",
    "1.2.840.10008.1.2.5": "RLE Lossless",
    "1.2.840.10008.1.2.4.70": "JPEG Lossless, Selection Value 1",
    "1.2.840.10008.1.2.4.57": "JPEG Lossless",
    "1.2.840.10008.1.2.4.80": "JPEG-LS Lossless",
    "1.2.840.10008.1.2.4.81": "JPEG-LS Near-lossless",
    "1.2.840.10008.1.2.4.90": "JPEG 2000 Lossless",
    "1.2.840.10008.1.2.4.91": "JPEG 2000",
    "1.2.840.10008.1.2.4.50": "JPEG Baseline",
    "1.2.840.10008.1.2.4.51": "JPEG Extended",
    "1.2.840.10008.1.2.4.201": "HTJ2K Lossless",
    "1.2.840.10008.1.2.4.202": "HTJ2K Lossless RPCL",
    "1.2.840.10008.1.2.4.203": "HTJ2K",
}
"""By UID, in the order in which they are preferred. Not the deflated one: it may unpack to any size."""
EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
SENT_SYNTAXES = {"RTSTRUCT": (IMPLICIT,), "SEG": (EXPLICIT, IMPLICIT)}
"""In which results are sent: explicit VR has no length for long contours, and all receivers know implicit."""
