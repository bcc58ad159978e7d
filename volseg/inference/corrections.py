"""Where a folder of predictions is no longer what its records say: masks corrected, images exchanged."""

from collections.abc import Iterable, Iterator

from volseg.data.dataset import Dataset
from volseg.data.volume_files import split_ending
from volseg.inference.prediction_folder import MASK, PROBABILITY, Prediction


def correction_notes(predictions: Iterable[Prediction]) -> Iterator[str]:
    """Notes on masks that were corrected by hand, and on files that look so but are not read."""
    for prediction in predictions:
        if prediction.edited_classes:
            yield (
                f"{prediction.scan}: corrected by hand after it was predicted: "
                f"{', '.join(prediction.edited_classes)}; what counts is the corrected mask, not the "
                "network's"
            )
        for name in prediction.classes:
            if others := _other_versions(prediction, name):
                yield f"{prediction.folder}: {', '.join(others)}: not read; what counts is {name}{MASK}"


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
    missing = [f"{name}{MASK}" for name in prediction.missing_classes]
    if not missing or prediction.status == "failed":
        return ""
    others = [file for name in prediction.missing_classes for file in _other_versions(prediction, name)]
    told = f" ({', '.join(others)} is not read: save it under that name)" if others else ""
    return f"{prediction.folder}: {', '.join(missing)} missing{told}; run `volseg infer` again"


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
