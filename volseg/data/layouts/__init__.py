"""How raw datasets lie on disk: a layout finds their scans and says what is wrong with them."""

from typing import Annotated

from volseg.data.layouts.gi_tract.layout import GITract
from volseg.data.layouts.nifti.layout import Nifti
from volseg.data.layouts.raw_dataset import Found
from volseg.schema import Choice

Layout = Annotated[GITract | Nifti, Choice()]

__all__ = ["Found", "GITract", "Layout", "Nifti"]
