"""How many cases do steps by labels need, and what do they take from the labels of others?

    .venv/bin/python benchmarks/label_cases.py LABELS [--draws 100]

LABELS is a folder with the competition's `train.csv.gz` and `scans.csv`, a row a scan with `scan`, `slices`,
`width`, `height` and `px_mm`. From some cases drawn at random the steps are found as `volseg train` finds
them, whatever their number, and are applied to the labels of all other cases.
"""

import argparse
import csv
import gzip
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from volseg.data.layouts.gi_tract import rle
from volseg.postprocessing import DropSmall, KeepLargest, Step, label_steps
from volseg.postprocessing.connected_components import ConnectedComponents
from volseg.postprocessing.label_steps import LabelParts, justify_steps

Labels = Mapping[str, Sequence[LabelParts]]
"""By class, the parts in each scan."""
NUMBERS = (2, 3, 4, 5, 6, 8, 11, 16, 30, 60)
SLICE_MM = 3.0


def measure(folder: Path) -> Labels:
    """The parts of each class in all scans, from the run-length codes."""
    with (folder / "scans.csv").open() as file:
        scans = {row["scan"]: row for row in csv.DictReader(file)}
    masks: dict[str, dict[str, dict[int, str]]] = {}
    with gzip.open(folder / "train.csv.gz", "rt") as file:
        for row in csv.DictReader(file):
            case, day, _, number = row["id"].split("_")
            of_class = masks.setdefault(row["class"], {name: {} for name in scans})
            if row["segmentation"]:
                of_class[f"{case}_{day}"][int(number)] = row["segmentation"]
    return {
        name: [LabelParts(scan.split("_")[0], parts(codes, scans[scan])) for scan, codes in of_class.items()]
        for name, of_class in masks.items()
    }


def parts(codes: Mapping[int, str], scan: Mapping[str, str]) -> tuple[float, ...]:
    """The volumes of the parts of one class of one scan, in mm³."""
    shape = int(scan["width"]), int(scan["height"])
    if not codes:
        return ()
    first = min(codes)
    mask = np.zeros((*shape, max(codes) - first + 1), bool, order="F")
    for number, text in codes.items():
        mask[:, :, number - first] = rle.decode(text, shape)
    sizes = ConnectedComponents.from_mask(mask).sizes
    return tuple((sizes * float(scan["px_mm"]) ** 2 * SLICE_MM).tolist())


def lost_share(labels: LabelParts, steps: Sequence[Step]) -> float:
    """The share of a class's labels that the steps take away."""
    left = sorted(labels.volumes_mm3, reverse=True)
    for step in steps:
        if isinstance(step, DropSmall):
            left = [volume for volume in left if volume >= step.min_mm3]
        elif isinstance(step, KeepLargest):
            left = left[: step.k]
    return 1 - sum(left) / sum(labels.volumes_mm3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("labels", type=Path)
    parser.add_argument("--draws", type=int, default=100)
    given = parser.parse_args()
    labels = measure(given.labels)
    print(*justify_steps(labels).comments, sep="\n")
    label_steps.LEAST_CASES = 1
    print(
        f"\n{'class':14}{'cases':>6}  {'k = 1, 2, 3, none':20}{'scans that lose > 1 %':>22}{'mean loss':>11}"
    )
    for name, scans in labels.items():
        cases = sorted({scan.case for scan in scans if scan.volumes_mm3})
        rng = np.random.default_rng(0)
        for number in NUMBERS:
            kept, losses = [0, 0, 0, 0], []
            for _ in range(given.draws):
                drawn = {*rng.permutation(cases)[:number].tolist()}
                steps = justify_steps({name: [scan for scan in scans if scan.case in drawn]}).steps
                kept[next((step.k for step in steps if isinstance(step, KeepLargest)), 4) - 1] += 1
                others = (scan for scan in scans if scan.case not in drawn and scan.volumes_mm3)
                losses += [lost_share(scan, steps) for scan in others]
            print(
                f"{name:14}{number:6}  {', '.join(map(str, kept)):20}"
                f"{np.mean(np.array(losses) > 0.01):22.1%}{np.mean(losses):11.2%}",
                flush=True,
            )


if __name__ == "__main__":
    main()
