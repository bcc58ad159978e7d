"""The scans that are shown, those to be trusted least first, and the scan of a name as it is now."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from volseg.data.dataset import FILE, Dataset, Sample
from volseg.errors import UserError, nearest_hint
from volseg.inference.correction_file import correction_problem
from volseg.inference.corrections import other_image_problem
from volseg.inference.mask_folder import holds_masks
from volseg.inference.prediction_folder import RECORD, Prediction
from volseg.inference.prediction_places import dataset_of_predictions
from volseg.inference.tables import lowest_confidence
from volseg.viewer.earlier_scan import EarlierScan
from volseg.viewer.refusal import RefusedError
from volseg.viewer.scan import ViewedScan
from volseg.viewer.scan_records import read_prediction, read_predictions


@dataclass(frozen=True)
class ScanList:
    """The scans of a folder of predictions that were asked for, in the order in which they are shown.

    `all_scans` are those of the folder, where an earlier day may lie.
    """

    folder: Path
    names: tuple[str, ...]
    all_scans: tuple[Prediction, ...]
    dataset: Dataset | None

    @classmethod
    def load(cls, folder: Path, wanted: str | None = None, data: Path | None = None) -> "ScanList":
        """All scans of a folder, or those of one name or case.

        `data` is a dataset; by default that of the predictions, if it has any of the scans.

        Raises:
            UserError: no folder of predictions, no such scan in it: the nearest, or a dataset that was named
                and has none of the scans.
        """
        _check_kind(folder)
        scans = read_predictions(folder)
        ordered = sorted(scans, key=lambda one: (bool(problem_of(one)), lowest_confidence(one)))
        chosen = [one for one in ordered if wanted in (None, one.scan, case_of(one))]
        if not chosen:
            known = dict.fromkeys([one.scan for one in scans] + [case_of(one) for one in scans])
            raise UserError(f"{wanted}: no such scan or case in {folder}{nearest_hint(str(wanted), known)}")
        if wanted and all(map(problem_of, chosen)):
            raise UserError(problem_of(chosen[0]))
        return cls(
            folder, tuple(one.scan for one in chosen), tuple(scans), _find_dataset(data, folder, scans)
        )

    @cached_property
    def done(self) -> tuple[str, ...]:
        """The scans that had masks when the viewer was started."""
        failed = {one.scan for one in self.all_scans if problem_of(one)}
        return tuple(name for name in self.names if name not in failed)

    @cached_property
    def known(self) -> dict[str, Prediction]:
        """All scans by name, as they were when the viewer was started."""
        return {one.scan: one for one in self.all_scans}

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """All classes, those of the dataset first: their places give their colours, as in the report."""
        own = self.dataset.classes if self.dataset else ()
        return tuple(dict.fromkeys((*own, *(name for one in self.all_scans for name in one.classes))))

    def colour_places(self, prediction: Prediction) -> dict[str, int]:
        """The places of a scan's classes, also of those that it had not when the viewer was started."""
        known = dict.fromkeys((*self.classes, *prediction.classes))
        return {name: place for place, name in enumerate(known)}

    def prediction(self, name: str) -> Prediction:
        """A scan's prediction as its record says now.

        Raises:
            RefusedError: no such scan here, or its record is gone or damaged.
        """
        if name not in self.names:
            raise RefusedError(404, "no such scan here")
        try:
            return read_prediction(self.folder / name)
        except UserError as error:
            raise RefusedError(404, str(error)) from error

    def scan(self, name: str) -> ViewedScan:
        """A scan with masks, as it is now.

        Raises:
            RefusedError: no such scan here, or it failed.
        """
        prediction = self.prediction(name)
        if prediction.status == "failed":
            raise RefusedError(404, problem_of(prediction))
        return ViewedScan(prediction, self.dataset, self._earlier_scan(prediction))

    def neighbours(self, name: str) -> tuple[str, str]:
        """The scans before and after this one; "" where there is none."""
        shown = [one for one in self.names if one in self.done or one == name]  # done by now, if it failed
        place = shown.index(name)
        after = shown[place + 1 : place + 2]
        return (shown[place - 1] if place else "", after[0] if after else "")

    def day(self, prediction: Prediction) -> int | None:
        """The day of a scan, where the dataset or its record tells it."""
        sample = self.dataset.find_sample(prediction.identity) if self.dataset else None
        return sample.day if sample else prediction.day

    def _earlier_scan(self, prediction: Prediction) -> EarlierScan | None:
        """The nearest day before a scan's, of its case, that was predicted or is labelled."""
        day, case = self.day(prediction), case_of(prediction)
        if day is None:
            return None
        samples = self._labelled_samples(case)
        predictions = {
            other: one
            for one in self.all_scans
            if one.status == "done" and case_of(one) == case and (other := self.day(one)) is not None
        }
        nearest = max((other for other in {*samples, *predictions} if other < day), default=-math.inf)
        if nearest == -math.inf:
            return None
        sample, one = samples.get(int(nearest)), predictions.get(int(nearest))
        if one:
            one = Prediction.model_validate({**one.model_dump(), "folder": one.folder})  # as it is now
        return EarlierScan(one.scan if one else sample.name if sample else "", one, sample)

    def _labelled_samples(self, case: str) -> dict[int, Sample]:
        samples: Sequence[Sample] = self.dataset.samples if self.dataset else ()
        return {one.day: one for one in samples if one.case == case and one.labels and not one.excluded}


def _find_dataset(data: Path | None, folder: Path, scans: Sequence[Prediction]) -> Dataset | None:
    """The dataset that has some of the scans."""
    place = data or dataset_of_predictions(folder)
    if data is None and not (place / FILE).is_file():
        return None
    dataset = Dataset.load(place)
    if any(dataset.find_sample(one.identity) for one in scans):
        return dataset
    if data is None:
        return None
    problem = next((line for one in scans if (line := other_image_problem(one, dataset))), "")
    told = f"{data}: holds none of the predicted scans ({scans[0].scan} ...); name the one they are of"
    raise UserError(problem or told)


def _check_kind(folder: Path) -> None:
    """Refuse a folder in which no scan has a record, and say what is needed."""
    if not any(folder.glob(f"*/{RECORD}")) and not (folder / RECORD).is_file() and holds_masks(folder):
        raise UserError(
            f"{folder}: masks without {RECORD}: another tool made them, or it was "
            f"removed; `volseg view` needs <scan>/{RECORD} beside the masks of a scan; `volseg report "
            f"{folder} --data DATASET` shows masks of other tools"
        )


def problem_of(prediction: Prediction) -> str:
    """Why the masks of a scan can't be seen, or ''."""
    if prediction.status == "failed":
        return f"{prediction.scan}: failed, so there is no mask to see: {prediction.reason}"
    return correction_problem(prediction.folder)


def case_of(prediction: Prediction) -> str:
    """The case of a scan: itself where the record names none."""
    return prediction.case or prediction.scan
