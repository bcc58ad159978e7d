"""The command `volseg submit`."""

from pathlib import Path

from volseg.arguments import DATA, PREDICTIONS, MaskOptions
from volseg.cli import output


def submit(
    predictions: Path = PREDICTIONS,
    /,
    *,
    data: Path = DATA,
    sample: Path | None = None,
    out: Path = Path("submission.csv"),
    masks: MaskOptions = MaskOptions(),
) -> None:
    """Write the masks' run-length codes into the competition's file.

    Args:
        predictions: A folder of masks by volseg or another tool.
        data: The prepared dataset.
        sample: The competition's sample_submission.csv; its rows give the order.
        out: The file to write.
    """
    output.configure_console()
    from volseg.inference import submit as stage

    result = stage.submit(predictions, data, sample=sample, out=out, options=masks)
    output.notes(result.warnings)
    print(f"{out}: {result.rows} rows")
