"""Which real scans does a run call unlike its training, and which of its own kind wrongly?

    .venv/bin/python benchmarks/foreign_scans.py DATA

DATA holds `hippocampus`, `chaos` and `btcv` (Decathlon layout), `uwmgi_real` (slices), `abdomen` (NIfTI) and
`dicom`, or some of them. No network is needed: a run is what `volseg train` writes of all scans of a set, by
the default scaling of grey values. Each scan of the set is judged by the others (left out), then every half
of it (the first, last and middle slices) and all scans of the other sets by the whole set. At the end, of the
hippocampi: how often is one told by a run of a few others, over 30 random draws?
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from volseg.data import volume_files
from volseg.data.layouts.dicom.find import open_series
from volseg.data.layouts.dicom.pixels import read_volume
from volseg.data.layouts.gi_tract.slice_scan import SLICE_MM, read_folder
from volseg.data.preprocessing.grid import NetworkGrid
from volseg.data.preprocessing.intensity_scaling import Percentiles
from volseg.data.scan_traits import ScanTraits, measure_traits
from volseg.data.volume import Volume
from volseg.runs.training_scans import TrainingScans

SETS = ("hippocampus", "chaos", "btcv", "uwmgi_real")
OTHERS = ("abdomen", "dicom")
SERIES = ("sts_013", "ct_j2k", "seg/ct-3slice")
FEW, DRAWS = (2, 3, 5, 10, 20, 40), 30


def volumes(data: Path, name: str) -> Iterator[tuple[str, Volume]]:
    """The images of a set, by name."""
    if name == "uwmgi_real":
        for folder in sorted((data / name).glob("train/case*/*/scans")):
            yield folder.parent.name, read_folder(folder, slice_mm=SLICE_MM).image()
    elif name == "dicom":
        for series in SERIES:
            if (data / name / series).is_dir():
                yield series, read_volume(open_series(data / name / series))
    else:
        folder = data / name if name == "abdomen" else data / name / "imagesTr"
        for path in sorted(folder.glob("*.nii.gz")):
            if not path.name.endswith("_gi3.nii.gz"):
                yield path.name.removesuffix(".nii.gz"), volume_files.read(path)


def measure(image: Volume) -> ScanTraits:
    """The traits of an image."""
    return measure_traits([image], Percentiles())


def halves(image: Volume) -> Iterator[Volume]:
    """The first, the last and the middle half of a scan's slices."""
    axis = NetworkGrid.from_volume(image, None).slice_axis
    slices = image.voxels.shape[axis]
    for start in (0, slices - slices // 2, slices // 4):
        part = [slice(None)] * 3
        part[axis] = slice(start, start + slices // 2)
        yield Volume(image.voxels[tuple(part)], image.affine)


def learned(scans: list[ScanTraits]) -> TrainingScans:
    """What a run knows of these scans, each of another case."""
    return TrainingScans.of(scans, cases=len(scans))


def main() -> None:
    """Print a row a run, then what was told of scans of its own kind."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    data = parser.parse_args().data
    images = {name: list(volumes(data, name)) for name in (*SETS, *OTHERS)}
    traits = {name: {scan: measure(image) for scan, image in own} for name, own in images.items()}
    told = []
    print("| run | " + " | ".join(("its own, left out", "its halves", *images)) + " |")
    for name in filter(traits.get, SETS):
        own, run = traits[name], learned([*traits[name].values()])
        left_out = {scan: learned([t for other, t in own.items() if other != scan]) for scan in own}
        false = {scan: "; ".join(left_out[scan].differences(one)) for scan, one in own.items()}
        told += [f"{scan}: {text}" for scan, text in false.items() if text]
        parts = [measure(half) for _, image in images[name] for half in halves(image)]
        cells = [f"{sum(map(bool, false.values()))} of {len(own)}", count(run, parts)]
        cells += ["" if other == name else count(run, [*traits[other].values()]) for other in images]
        print(f"| {name} | " + " | ".join(cells) + " |")
    print(*told, sep="\n")
    for cases in FEW:
        scans = [*traits["hippocampus"].values()]
        if len(scans) > cases:
            print(f"run of {cases} hippocampi: {100 * share_told(scans, cases):.1f} % of the others are told")


def share_told(scans: list[ScanTraits], cases: int) -> float:
    """The share of scans that are called unlike so many others of their kind, over DRAWS of these."""
    rng, told, judged = np.random.default_rng(0), 0, 0
    for _ in range(DRAWS):
        order = rng.permutation(len(scans))
        run = learned([scans[place] for place in order[:cases]])
        told += sum(any(run.differences(scans[place])) for place in order[cases:])
        judged += len(scans) - cases
    return told / judged


def count(run: TrainingScans, scans: list[ScanTraits]) -> str:
    """How many of some scans a run calls unlike its own."""
    return f"{sum(any(run.differences(scan)) for scan in scans)} of {len(scans)}"


if __name__ == "__main__":
    main()
