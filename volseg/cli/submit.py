"""The command `volseg submit`."""

from pathlib import Path

from volseg.arguments import DATA, PREDICTIONS
from volseg.cli import output


def submit(
    predictions: Path = PREDICTIONS,
    /,
    *,
    data: Path = DATA,
    sample: Path | None = None,
    out: Path = Path("submission.csv"),
) -> None:
    """Merge the scans' run-length codes into the competition's file.

    Args:
        predictions: The folder that `volseg infer` wrote.
        data: The prepared dataset.
        sample: The competition's sample_submission.csv; its rows give the order.
        out: The file to write.
    """
    output.configure_console()
    from volseg.inference import submit as stage

    result = stage.submit(predictions, data, sample=sample, out=out)
    for warning in result.warnings:
        output.message(f"note: {warning}")
    print(f"{out}: {result.rows} rows")
