"""The command `volseg submit`."""

from pathlib import Path
from typing import Literal

from volseg.arguments import MaskOptions
from volseg.cli import output


def submit(
    predictions: Path | None = None,
    /,
    *,
    data: Path | None = None,
    sample: Path | None = None,
    out: Path = Path("submission.csv"),
    missing: Literal["refuse", "empty"] = "refuse",
    masks: MaskOptions = MaskOptions(),
) -> int:
    """Write the masks' run-length codes into the competition's file.

    Without test scans, and with a sample that has only its header, the file has only its header.

    Args:
        predictions: A folder of masks by volseg or another tool; by default the newest below predictions/.
        data: The prepared dataset; by default that of the predictions, or data/prepared.
        sample: The competition's sample_submission.csv; its rows give the order.
        out: The file to write.
        missing: A scan that failed or has no prediction is refused, or gets rows without masks: `empty`.
    """
    output.configure_console()
    from volseg.formatting import format_count
    from volseg.inference import submit as stage
    from volseg.inference.prediction_places import dataset_of_predictions

    folder = output.predictions_folder(predictions)
    dataset = data or dataset_of_predictions(folder)
    result = stage.submit(folder, dataset, sample=sample, out=out, missing=missing, options=masks)
    output.notes(result.warnings)
    for scan, reason in result.empty.items():
        output.message(f"empty: {scan}: {reason}")
    print(f"{out}: {result.rows} rows of {format_count(len(result.scans), 'scan')} in {folder}")
    return output.SOME_FAILED if result.empty else 0
