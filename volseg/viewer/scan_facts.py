"""What the page is told of the scans and of one scan, as values for JSON."""

import math
from typing import Any

from volseg.errors import UserError
from volseg.inference.correction_file import Correction
from volseg.inference.prediction_folder import Prediction
from volseg.inference.prediction_record import Confidence
from volseg.inference.tables import lowest_confidence
from volseg.viewer.display_grid import SLICE_AXIS
from volseg.viewer.scan import ViewedScan
from volseg.viewer.scan_list import ScanList, case_of
from volseg.viewer.work_list import work_items, work_ranges
from volseg.visualization.overlay import COLOURS

AUTOSAVE_SECONDS = 30
NOTHING = Confidence(dice=None, calibrated=False, volume_ml=0.0)


def list_facts(scans: ScanList, *, read_only: bool) -> dict[str, Any]:
    """The scans in order, with what is known of each."""
    rows = [_row(scans, name) for name in scans.names]
    return {"folder": str(scans.folder), "read_only": read_only, "scans": rows}


def _row(scans: ScanList, name: str) -> dict[str, Any]:
    """A scan; one of which nothing can be shown has failed, whatever was predicted."""
    prediction, correction, work, problem = scans.known[name], None, [], ""
    try:
        prediction = scans.prediction(name)
        correction = prediction.correction
        if prediction.status == "done":
            work = [ends for ends, _ in work_ranges(prediction)]
    except UserError as error:
        problem = str(error)
    lowest = lowest_confidence(prediction)
    looked_at = {*correction.looked_at} if correction else set()
    return {
        "name": prediction.scan,
        "case": case_of(prediction),
        "day": scans.day(prediction),
        "status": "failed" if problem else prediction.status,
        "reason": problem or prediction.reason,
        "outside": list(prediction.outside),
        "confidence": lowest if math.isfinite(lowest) and lowest <= 1 else None,
        "calibrated": all(one.calibrated for one in prediction.confidence.values()),
        "organs": [_organ(prediction, correction, name) for name in prediction.classes],
        "to_check": len(work),
        "looked_at": len(looked_at & {*work}),
        "corrected": list(correction.changed_classes) if correction else [],
        "saved": correction.saved if correction else "",
    }


def _organ(prediction: Prediction, correction: Correction | None, name: str) -> dict[str, Any]:
    told = prediction.confidence.get(name)
    change = correction.classes.get(name) if correction else None
    grown_ml = change.added_ml - change.removed_ml if change else 0.0
    return {
        "name": name,
        "title": title(name),
        "confidence": told.dice if told else None,
        "volume_ml": round(max(0.0, told.volume_ml + grown_ml), 3) if told else None,
        "flags": [flag.text for flag in told.flags] if told else [],
    }


def scan_facts(scans: ScanList, scan: ViewedScan, window: tuple[float, float] | str) -> dict[str, Any]:
    """All that the viewer's page needs of a scan but its voxels; `window` is a reason where no image is."""
    prediction = scan.prediction
    correction, unsaved = prediction.correction, scan.unsaved
    previous, after = scans.neighbours(scan.name)
    return {
        "name": scan.name,
        "shape": list(scan.grid.shape),
        "spacing_mm": list(scan.grid.spacing_mm),
        "slice_axis": SLICE_AXIS,
        "slice_numbers": scan.slice_numbers,
        "window": [0.0, 1.0] if isinstance(window, str) else list(window),
        "image": not isinstance(window, str),
        "image_reason": window if isinstance(window, str) else "",
        "classes": [_class_facts(scans, scan, name) for name in scan.classes],
        "work": list(work_items(prediction, scan.slice_numbers)),
        "looked_at": [list(ends) for ends in correction.looked_at] if correction else [],
        "seconds": correction.seconds if correction else 0.0,
        "saved": correction.saved if correction else "",
        "unsaved": _unsaved_facts(scan, unsaved) if unsaved else None,
        "earlier_scan": scan.earlier.name if scan.earlier else "",
        "autosave_seconds": AUTOSAVE_SECONDS,
        "previous_scan": previous,
        "next_scan": after,
    }


def _class_facts(scans: ScanList, scan: ViewedScan, name: str) -> dict[str, Any]:
    prediction, told = scan.prediction, NOTHING
    if name not in prediction.edited_in_place:
        told = prediction.confidence.get(name, NOTHING)
    correction = prediction.correction
    return {
        "name": name,
        "title": title(name),
        "colour": colour(scans.colour_places(prediction)[name]),
        "base": scan.bases[name],
        "corrected": bool(correction and name in correction.changed_classes),
        "probability": scan.has_probability(name),
        "truth": scan.has_truth(name),
        "earlier": scan.has_earlier(name),
        "confidence": told.dice,
        "calibrated": told.calibrated,
        "flags": [flag.text for flag in told.flags],
    }


def _unsaved_facts(scan: ViewedScan, unsaved: Correction) -> dict[str, Any]:
    """What lies aside; `outdated` are the classes whose masks were changed since by another program."""
    return {
        "saved": unsaved.saved,
        "seconds": unsaved.seconds,
        "looked_at": [list(ends) for ends in unsaved.looked_at],
        "changed": list(unsaved.changed_classes),
        "outdated": list(scan.changed_since_unsaved),
    }


def title(name: str) -> str:
    """A class's name for people."""
    return name.replace("_", " ")


def colour(place: int) -> str:
    """The colour of a class by its place, as the report and the overlay have it."""
    red, green, blue = COLOURS[place % len(COLOURS)]
    return f"#{red:02x}{green:02x}{blue:02x}"
