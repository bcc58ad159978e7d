"""Prediction of one image in memory: the masks and the confidence of each class, nothing written."""

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from volseg.arguments import InferArguments
from volseg.data.layouts.dicom.find import open_series
from volseg.data.layouts.dicom.pixels import read_volume
from volseg.data.layouts.gi_tract.slice_scan import SLICE_MM
from volseg.data.volume import Volume
from volseg.errors import UserError
from volseg.formatting import first_few
from volseg.inference.confidence.calibration_file import KnownClasses
from volseg.inference.confidence.review import ScanReview, intensity_levels
from volseg.inference.dicom_input import is_dicom_input
from volseg.inference.ensemble import Ensemble, LoadedEnsemble
from volseg.inference.input_paths import channels_problem, find_input_files
from volseg.inference.opening import open_gated
from volseg.inference.prediction_record import Confidence
from volseg.inference.predictor import Changes
from volseg.inference.scan_sources import source_from_files
from volseg.inference.training_range import UNLIKE, flag_outside
from volseg.runs.run_files import RunSplits
from volseg.system.timing import StepTimer

Image = Path | str | Volume | Sequence[Path | str | Volume]


class PredictedMasks(NamedTuple):
    """The masks of one image and how far each can be trusted, by class.

    Attributes:
        masks: a bool array (X, Y, Z) a class, on the image's own grid.
        confidence: a class's expected Dice (`dice`; None where `doubt` says why nobody knows), volume in ml,
            unusual signs (`flags`) and the slices to check first (`slices`).
    """

    masks: dict[str, npt.NDArray[np.bool_]]
    confidence: dict[str, Confidence]


def predict_image(
    image: Image,
    runs: Sequence[str | Path] = (),
    *,
    gate: str | Path | None = None,
    device: str | None = None,
) -> PredictedMasks:
    """Predict one image by the mean of some runs' networks; by default the newest run's.

    `gate` is a run that empties slices, or "none"; by default that of the first run's config. `device` is
    cpu, cuda, cuda:1 or mps; by default a GPU if there is one.

    Raises:
        UserError: an image that can't be read or has other channels than the runs, or no such run or device.
    """
    names, gate = tuple(map(str, runs)), None if gate is None else str(gate)
    ensemble = open_gated(names, gate)
    wanted = ensemble.facts.channels
    channels = _read_image(image, ensemble.facts)
    if len(channels) != len(wanted):
        raise UserError(f"image: {channels_problem(len(channels), wanted)}")
    outside = ensemble.training_range.check_scan("image", channels)
    predictor = _load_cached(_identity(ensemble), names, gate, device).predictor
    timer, first = StepTimer(), channels[0]
    maps = predictor.predict_probabilities(channels, timer)
    levels = intensity_levels(first.voxels, ensemble.runs[0].config.data.intensity)
    known = KnownClasses.of_ensemble(ensemble, predictor.views)
    review, masks = ScanReview(known, first, levels, doubt=UNLIKE if outside else ""), {}
    changes: Changes = {}
    cleaned = predictor.postprocess_masks(maps, first, timer, changes=changes)
    for number, (name, mask) in enumerate(cleaned):
        review.add_class(name, mask, maps, number, changes=changes[name])
        masks[name] = mask
    return PredictedMasks(masks, flag_outside(review.confidence, outside))


def _identity(ensemble: Ensemble) -> str:
    """What loaded networks depend on: weights and configs, the gate's included."""
    gate = _identity(ensemble.gate.ensemble) if ensemble.gate else ""
    configs = [run.config.model_dump_json() for run in ensemble.runs]
    return json.dumps([ensemble.weights_digest, ensemble.shares, *configs, gate])


@lru_cache(maxsize=1)
def _load_cached(
    identity: str,  # noqa: ARG001  it is the key
    runs: tuple[str, ...],
    gate: str | None,
    device: str | None,
) -> LoadedEnsemble:
    """The networks in their engines, kept for the next image by the same runs."""
    return open_gated(runs, gate).load(InferArguments(device=device))


def _read_image(image: Image, facts: RunSplits) -> list[Volume]:
    """An image's channels: read from files or a folder, or as given."""
    if isinstance(image, Volume | str | Path):
        image = [image]
    return [channel for part in image for channel in _read_part(part, facts)]


def _read_part(part: Volume | str | Path, facts: RunSplits) -> list[Volume]:
    """The channels of one volume, file, folder of slices or folder of one scan's volumes."""
    if isinstance(part, Volume):
        return [part]
    if not isinstance(part, str | Path):
        raise UserError(
            f"image: a {type(part).__name__} has no place in the patient; pass a path, or an array with its "
            "affine as volseg.Volume(array, affine)"
        )
    if is_dicom_input(Path(part)):
        return [read_volume(open_series(Path(part)))]
    scans = find_input_files([Path(part)], facts.channels)
    if len(scans) > 1:
        names = ", ".join(first_few([scan.name for scan in scans], "scans"))
        raise UserError(f"{part}: holds {len(scans)} scans ({names}); pass one of them")
    source = source_from_files(scans[0], slice_mm=facts.slice_mm or SLICE_MM)
    return source.read_channels()
