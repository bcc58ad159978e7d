"""The masks of a prediction as they are now, on the slices of the series that they are of."""

from collections.abc import Iterator

import numpy as np

from volseg.data import volume_files
from volseg.data.layouts.dicom.series import DicomSeries
from volseg.data.mask_files import MaskReader
from volseg.data.volume import Volume
from volseg.dicom.organ_codes import OrganTable
from volseg.dicom.rtstruct import OrganMask
from volseg.errors import UserError
from volseg.inference.prediction_folder import PROBABILITY, Prediction

ADVICE = "predict the series anew, or save the mask on its grid"


def read_organs(prediction: Prediction, series: DicomSeries, table: OrganTable) -> list[OrganMask]:
    """The mask of each class on the planes of the series; what was corrected by hand is marked.

    Raises:
        UserError: masks missing, damaged or on another grid; all that are.
    """
    codes = table.codes_of(prediction.classes)
    grid = series.empty_volume
    organs, problems = [], []
    for name in prediction.classes:
        try:
            volume = _read_file(prediction, name)
            mask = MaskReader(grid, advice=ADVICE).fit(volume, f"{prediction.scan}: {name}")
        except UserError as error:
            problems.append(str(error))
            continue
        planes = series.planes_of_volume(grid.with_voxels(mask))
        if planes is not None:  # it is on the grid by now
            organs.append(OrganMask(name, codes[name], planes, name in prediction.edited_classes))
    if problems:
        raise UserError.from_problems(problems)
    return organs


def with_probabilities(
    organs: list[OrganMask], prediction: Prediction, series: DicomSeries
) -> Iterator[OrganMask]:
    """The same organs with the network's probabilities in place of masks, float32 from 0 to 1.

    Raises:
        UserError: a probability missing, damaged or on another grid.
    """
    for organ in organs:
        volume = _read_file(prediction, organ.organ, PROBABILITY)
        planes = series.planes_of_volume(volume)
        where = f"{prediction.scan}: {organ.organ}{PROBABILITY}"
        if planes is None:
            raise UserError(f"{where}: lies on another grid than the series; {ADVICE}")
        if not (np.isfinite(planes).all() and planes.min() >= 0 and planes.max() <= 1):
            raise UserError(f"{where}: holds values that are no probabilities; expected 0 to 1")
        yield OrganMask(organ.organ, organ.code, planes.astype(np.float32, copy=False))


def _read_file(prediction: Prediction, name: str, ending: str = "") -> Volume:
    """The volume of a class, told by scan and class in messages: folders may be named after patients."""
    path = prediction.folder / f"{name}{ending}" if ending else prediction.mask_file(name).path
    told = f"{prediction.scan}: {path.name}"
    if not path.is_file():
        way_out = "--save-probabilities writes it" if ending else "run `volseg infer` again"
        raise UserError(f"{told}: missing; {way_out}")
    try:
        return volume_files.read(path)
    except UserError as error:
        raise UserError(str(error).replace(str(path), told)) from None
