#!/usr/bin/env python3
"""Stack the slices of one scan into one NIfTI volume, uint16, on its native grid.

    python tools/stack_slices.py data/raw/train/case123/case123_day20 case123_day20.nii.gz

CASE_DIR is a scan's folder, its `scans` folder, a case of one day, or any folder of slices named
like slice_0001_266_266_1.50_1.50.png. Exit codes: 0 done, 1 a fault of the data, 2 wrong usage.
"""

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from volseg.data.layouts.gi_tract.slice_scan import SLICE_MM, SliceScan, read_folder
from volseg.data.volume_files import write_volume
from volseg.errors import UserError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    given = _parser().parse_args(arguments)
    try:
        scan = read_folder(given.case_dir, slice_mm=given.slice_mm, allow_gaps=given.allow_gaps)
        write_volume(scan.image(), given.out)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    for note in scan.notes:
        print(f"warning: {note}", file=sys.stderr)
    print(_summary(scan, given.out))
    return 0


def _parser() -> argparse.ArgumentParser:
    summary, _, details = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        prog="stack_slices.py",
        description=summary,
        epilog=details,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("case_dir", metavar="CASE_DIR", type=Path, help="folder of one scan")
    parser.add_argument("out", metavar="OUT.nii.gz", type=_volume, help="volume to write")
    parser.add_argument(
        "--slice-mm",
        type=_millimetres,
        default=SLICE_MM,
        metavar="MM",
        help="distance of slices, which their names do not tell (default: %(default)s mm)",
    )
    parser.add_argument(
        "--allow-gaps",
        action="store_true",
        help="stack the slices there are, as if they touched, where some are missing in between",
    )
    return parser


def _volume(text: str) -> Path:
    if not text.endswith((".nii", ".nii.gz")):
        raise argparse.ArgumentTypeError(f"'{text}' must end in .nii.gz or .nii")
    return Path(text)


def _millimetres(text: str) -> float:
    try:
        length = float(text)
    except ValueError:
        length = 0.0
    if not (math.isfinite(length) and length > 0):
        raise argparse.ArgumentTypeError(f"'{text}' must be a number above 0")
    return length


def _summary(scan: SliceScan, out: Path) -> str:
    size = " x ".join(map(str, scan.shape))
    spacing = " x ".join(f"{side:g}" for side in scan.spacing_mm)
    return f"{out}: {size} voxels of {spacing} mm, slices {scan.numbers[0]} to {scan.numbers[-1]}"


if __name__ == "__main__":
    sys.exit(main())
