"""How raw datasets lie on disk: a layout finds their scans and says what is wrong with them."""

from typing import Annotated

from volseg.data.layouts.gi_tract.layout import GITract
from volseg.data.layouts.nifti.layout import Nifti
from volseg.data.layouts.raw_dataset import RawDataset
from volseg.schema import NamedUnion

Layout = Annotated[GITract | Nifti, NamedUnion()]

__all__ = ["GITract", "Layout", "Nifti", "RawDataset"]
