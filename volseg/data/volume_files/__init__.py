"""Files of volumes: reading NIfTI, mha and nrrd, writing NIfTI, and telling what a file really is."""

from volseg.data.volume_files.endings import ENDINGS, split_ending
from volseg.data.volume_files.file_content import folder_content, missing_reason
from volseg.data.volume_files.oddities import Oddity, scan_oddities
from volseg.data.volume_files.other_formats import detached_files
from volseg.data.volume_files.reading import VolumeHeader, read, read_channels, read_header
from volseg.data.volume_files.writing import LEVEL, encode_nifti, write_volume

__all__ = (
    "ENDINGS",
    "LEVEL",
    "Oddity",
    "VolumeHeader",
    "detached_files",
    "encode_nifti",
    "folder_content",
    "missing_reason",
    "read",
    "read_channels",
    "read_header",
    "scan_oddities",
    "split_ending",
    "write_volume",
)
