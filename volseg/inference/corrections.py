"""Where a folder of predictions is no longer what its records say: masks corrected, images exchanged."""

from collections.abc import Iterable, Iterator

from volseg.data.dataset import Dataset
from volseg.data.volume_files import split_ending
from volseg.formatting import first_few, format_count, format_ml, join_names
from volseg.inference.correction_file import CORRECTED, CORRECTION, Correction
from volseg.inference.prediction_folder import MASK, PROBABILITY, Prediction


def correction_notes(predictions: Iterable[Prediction]) -> Iterator[str]:
    """Notes on masks that were corrected, aside or in place, and on files that look so but are not read."""
    predictions = list(predictions)
    saved = [_saved_note(one, one.correction) for one in predictions if one.correction]
    yield from first_few(saved, f"scans corrected or looked at in {CORRECTED}/")
    for prediction in predictions:
        correction, in_place = prediction.correction, prediction.edited_in_place
        if correction:
            yield from _mismatch_notes(prediction, correction)
            in_place = tuple(name for name in in_place if name not in correction.outdated(prediction.folder))
        if in_place:
            when = f", before {CORRECTED}/ was saved" if correction else ""
            yield (
                f"{prediction.scan}: corrected by hand after it was predicted{when}: {', '.join(in_place)}; "
                "what counts is the corrected mask, not the network's"
            )
        for name in prediction.classes:
            if others := _other_versions(prediction, name):
                yield f"{prediction.folder}: {', '.join(others)}: not read; what counts is {name}{MASK}"


def _saved_note(prediction: Prediction, correction: Correction) -> str:
    """What was saved in `corrected/`."""
    changed = {name: one for name, one in correction.classes.items() if one.changed_voxels}
    told = ", ".join(
        f"{name} ({format_count(one.changed_voxels, 'voxel')}, {format_ml(one.changed_ml)})"
        for name, one in changed.items()
    )
    parts = [f"corrected in {CORRECTED}/: {told}"] if told else []
    if untouched := [name for name in correction.classes if name not in changed]:
        parts.append(f"looked at without a change: {join_names(untouched)}")
    counts = f"; what counts is {CORRECTED}/, not the network's masks" if told else ""
    return f"{prediction.scan}: {'; '.join(parts)}{counts}"


def _mismatch_notes(prediction: Prediction, correction: Correction) -> Iterator[str]:
    """Where the masks of now are no longer those that `correction.json` tells of."""
    if later := correction.changed_later(prediction.folder):
        yield (
            f"{prediction.scan}: changed in {CORRECTED}/ after they were saved, so {CORRECTION} tells of "
            f"earlier masks: {', '.join(later)}"
        )
    if outdated := correction.outdated(prediction.folder):
        yield (
            f"{prediction.scan}: {CORRECTED}/ started from other masks than the predicted ones of now: "
            f"{', '.join(outdated)}; what counts is {CORRECTED}/; move it away to go on with the prediction"
        )


def other_image_problem(prediction: Prediction, dataset: Dataset) -> str:
    """A sentence if masks are of another image than the dataset's scan of their name, or ''."""
    namesake = any(sample.name == prediction.scan for sample in dataset.samples)
    if not namesake or dataset.find_sample(prediction.identity):
        return ""
    return (
        f"{prediction.folder}: its masks are of another image than {prediction.scan} of {dataset.folder}: of "
        f"{', '.join(prediction.source)}; pass --data of the dataset it is of, or predict this one's"
    )


def missing_masks_problem(prediction: Prediction) -> str:
    """A sentence if masks that the record names are not there, or ''."""
    if not prediction.missing_classes or prediction.status == "failed":
        return ""
    inside = prediction.correction.classes if prediction.correction else ()
    names = [f"{CORRECTED}/{name}" if name in inside else name for name in prediction.missing_classes]
    missing = ", ".join(f"{name}{MASK}" for name in names)
    if names != prediction.missing_classes:
        way_out = f"move {CORRECTED}/ away to go on with what was predicted"
        return f"{prediction.folder}: {missing} missing; {way_out}"
    others = [file for name in prediction.missing_classes for file in _other_versions(prediction, name)]
    told = f" ({', '.join(others)} is not read: save it under that name)" if others else ""
    return f"{prediction.folder}: {missing} missing{told}; run `volseg infer` again"


def _other_versions(prediction: Prediction, name: str) -> list[str]:
    """Files such as stomach.nii or stomach_corrected.nii.gz beside the mask of a class."""
    written = {f"{one}{ending}" for one in prediction.classes for ending in (MASK, PROBABILITY)}
    longer = tuple(one for one in prediction.classes if one != name and one.startswith(name))
    names = sorted(path.name for path in prediction.folder.iterdir()) if prediction.folder.is_dir() else []
    return [
        file
        for file in names
        if split_ending(file)[1] and file.startswith(name) and not file.startswith(longer)
        if file not in written and file not in prediction.files
    ]
