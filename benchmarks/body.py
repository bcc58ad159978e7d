"""What changes in the body's mask by the rule of the box, and are labelled voxels lost outside of it?

    .venv/bin/python benchmarks/body.py DATA

DATA holds `uwmgi_real` (slices, train.csv), `chaos`, `btcv` (Decathlon layout) and `abdomen` (NIfTI), or
some of them; phantoms of four sizes are drawn. `mean` is the rule that `limit_to_body` had until 2026-11:
tissue is an eighth of the way from the darkest value to the mean of all brighter ones, opened by a cube of 3
voxels. The others are the rule of the box (volseg/postprocessing/body_mask.py), with tissue above that share
of the way from dark to bright.
"""

import argparse
import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from volseg.data import phantom, volume_files
from volseg.data.layouts import GITract, Nifti
from volseg.data.preprocessing.grid import NetworkGrid
from volseg.data.volume import Volume
from volseg.postprocessing import body_mask
from volseg.postprocessing.connected_components import fill_holes
from volseg.postprocessing.removal import SLICES

MARGINS_MM = (10.0, 5.0, 0.0)
Mask = npt.NDArray[np.bool_]
Rule = Callable[[Any, tuple[float, float, float], float], Mask]


def mean_rule(image: Any, spacing_mm: tuple[float, float, float], margin_mm: float) -> Mask:
    darkest, above = float(image.min()), int(np.count_nonzero(image > image.min()))
    mean = (image.sum(dtype=np.float64) - image.size * darkest) / max(above, 1)
    air = image < darkest + mean / 8
    solid = ~body_mask.cover_cubes(air, air.shape, [1] * 3)
    reach = [1 + math.ceil(margin_mm / mm) for mm in spacing_mm]
    return fill_holes(body_mask.cover_cubes(solid, air.shape, reach), in_slices=True)


def cube_rule(image: Any, spacing_mm: tuple[float, float, float], margin_mm: float, *, share: float) -> Mask:
    body_mask.TISSUE = share
    body, depth = body_mask.Body(image, spacing_mm, margin_mm), image.shape[2]
    parts = [slice(first, min(first + SLICES, depth)) for first in range(0, depth, SLICES)]
    return np.concatenate([body.mask_in_slices(part) for part in parts], axis=2)


RULES: dict[str, Rule] = {
    "mean": mean_rule, **{f"1/{n}": partial(cube_rule, share=1 / n) for n in (8, 12, 16)}
}  # fmt: skip


def scans(data: Path) -> Iterator[tuple[str, Any, tuple[float, float, float], Mask]]:
    """The set, image and spacing of each scan, and its labels of all classes, slices last."""
    for seed, grid in enumerate((phantom.SMALL[0], *phantom.FULL[:3])):
        image, masks = phantom.simulate_scan(7 + seed, 3, grid=grid, seed=seed)
        yield "phantom", image, grid.spacing_mm, masks.any(axis=0)
    layouts = {"uwmgi_real": GITract(), "chaos": Nifti(), "btcv": Nifti()}
    for name, layout in layouts.items():
        found = layout.scans(data / name) if (data / name).is_dir() else None
        for scan in found.scans if found else ():
            (image,) = scan.channels()
            labels = dict(scan.labels(found.classes, image) or {})
            yield name, *oriented(image, np.logical_or.reduce(list(labels.values())))
    for image, label in (("ct_sm", "seg_gi3"), ("mr_sm", "seg_mr_gi3")):
        paths = [data / "abdomen" / f"example_{one}.nii.gz" for one in (image, label)]
        if all(path.is_file() for path in paths):
            read = [volume_files.read(path) for path in paths]
            yield "abdomen", *oriented(read[0], read[1].voxels > 0)


def oriented(image: Volume, labels: Mask) -> tuple[Any, tuple[float, float, float], Mask]:
    grid = NetworkGrid.from_volume(image, None)
    return grid.orient(image.voxels), grid.oriented_mm, grid.orient(labels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    rows: dict[str, list[list[float]]] = {}
    for name, image, spacing_mm, labels in scans(parser.parse_args().data):
        row: list[float] = [labels.sum()]
        before = mean_rule(image, spacing_mm, MARGINS_MM[0])
        for rule in RULES.values():
            start = time.perf_counter()
            found = rule(image, spacing_mm, MARGINS_MM[0])
            row += [100 * (found ^ before).sum() / before.sum(), 1000 * (time.perf_counter() - start)]
            row += [(labels & ~rule(image, spacing_mm, margin)).sum() for margin in MARGINS_MM]
        rows.setdefault(name, []).append(row)
    print(
        "| set | scans | labelled voxels | rule | changed %, mean (most) | lost at 10, 5, 0 mm | ms a scan |"
    )
    print("|---|---|---|---|---|---|---|")
    for name, of_scans in rows.items():
        table = np.array(of_scans)
        for number, rule_name in enumerate(RULES):
            changed, ms, *lost = table[:, 1 + 5 * number : 6 + 5 * number].T
            told = f"{changed.mean():.1f} ({changed.max():.1f}) | {', '.join(f'{n.sum():.0f}' for n in lost)}"
            head = f"{name} | {len(table)} | {table[:, 0].sum():.0f} | {rule_name}"
            print(f"| {head} | {told} | {ms.mean():.0f} |")


if __name__ == "__main__":
    main()
