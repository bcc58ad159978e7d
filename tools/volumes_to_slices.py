#!/usr/bin/env python3
"""Write a dataset of volumes as PNG slices and train.csv, in the raw layout that `volseg prepare` reads.

    python tools/volumes_to_slices.py data/nnunet/Dataset001 data/slices

DATASET is a prepared folder (dataset.json of `volseg prepare`), a folder with a dataset.json of the
Decathlon or nnU-Net, or a MONAI datalist. OUT is a new or empty folder:

    OUT/train/case123/case123_day20/scans/slice_0001_266_266_1.50_1.50.png     OUT/test/... alike
    OUT/train.csv               a row a slice and class, for every labelled scan; written last
    OUT/sample_submission.csv   its header
    OUT/mapping.csv             what each scan was called, and scale and offset of its values

Volumes are turned such that columns run to the patient's left, rows to the back, slices from head to
feet. A voxel is pixel * scale + offset. Whole numbers keep their values, or all get one offset where
some are negative. The last line on stdout is the command that reads all this as it was.
Exit codes: 0 done, 1 a fault of the data (then nothing is written), 2 wrong usage, 130 Ctrl-C.
"""

import argparse
import math
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from volseg import console
from volseg.data import volumes_to_slices
from volseg.errors import UserError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    given = _parser().parse_args(arguments)
    options = volumes_to_slices.SlicingOptions(given.channel, given.slice_mm, given.rescale)
    try:
        with console.progress_bar("slicing") as report:
            result = volumes_to_slices.convert_dataset(
                given.dataset, given.out, options=options, on_scan=report
            )
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    for warning in result.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print(f"{given.out}: {result.scans} scans ({result.labelled} labelled), {result.slices} slices")
    print(shlex.join(result.command))
    return 0


def _parser() -> argparse.ArgumentParser:
    summary, _, details = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        prog="volumes_to_slices.py",
        description=summary,
        epilog=details,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("dataset", metavar="DATASET", type=Path, help="dataset of volumes")
    parser.add_argument("out", metavar="OUT", type=Path, help="new or empty folder")
    parser.add_argument(
        "--channel",
        type=_count,
        metavar="N",
        help="channel to write, counted from 1 in the dataset's order; slices have one (default: the first)",
    )
    parser.add_argument(
        "--slice-mm",
        type=_millimetres,
        metavar="MM",
        help="take only scans whose slices are so far apart: a raw dataset is read with one distance",
    )
    parser.add_argument(
        "--rescale",
        action="store_true",
        help="map voxels that are no whole numbers, or too many of them, from their range to 0..65535: "
        "they are rounded, each scan by its own steps",
    )
    return parser


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"'{text}' must be a whole number from 1")
    return int(text)


def _millimetres(text: str) -> float:
    try:
        length = float(text)
    except ValueError:
        length = 0.0
    if not (math.isfinite(length) and length > 0):
        raise argparse.ArgumentTypeError(f"'{text}' must be a number above 0")
    return length


if __name__ == "__main__":
    sys.exit(main())
