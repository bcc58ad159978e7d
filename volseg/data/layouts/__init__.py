"""How raw datasets lie on disk: a layout finds their scans and says what is wrong with them."""

from typing import Annotated

from volseg.data.layouts.dicom.layout import Dicom
from volseg.data.layouts.gi_tract.layout import GITract
from volseg.data.layouts.nifti.layout import Nifti
from volseg.data.layouts.raw_dataset import RawDataset
from volseg.schema import NamedUnion

Layout = Annotated[GITract | Nifti | Dicom, NamedUnion("volseg.layouts", needs=("scans",))]

__all__ = ["Dicom", "GITract", "Layout", "Nifti", "RawDataset"]
