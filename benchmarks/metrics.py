"""How long do all metrics of a full-size scan take beside MONAI's, and do the values agree?

A phantom's three organs (266x266x144) against a damaged copy: 3 mm aside, a voxel thicker, a part missing
and a false island. In turn, each round in the other order:

- MONAI: `compute_dice`, `compute_hausdorff_distance` (all, 95 %), `compute_surface_dice` (2 mm, subvoxels)
  and `compute_average_surface_distance` (symmetric), on float tensors (1, 3, X, Y, Z) that are there
- volseg: every metric of `volseg evaluate`, from bool masks; and beside them the competition's score

Then every value beside its reference. DeepMind's surface-distance, which only its tests need, is left
out where it is missing: `.venv/bin/python -m pip install surface-distance`.

    .venv/bin/python benchmarks/metrics.py [--rounds N] [--quick]
"""

import argparse
import math
import statistics
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from monai.metrics import (
    compute_average_surface_distance,
    compute_dice,
    compute_hausdorff_distance,
    compute_iou,
    compute_surface_dice,
)
from monai.metrics.utils import get_mask_edges
from scipy.ndimage import binary_dilation, binary_erosion
from scipy.spatial import KDTree
from scipy.spatial.distance import cdist

from volseg.arrays import bounding_box
from volseg.data import phantom
from volseg.metrics import compute_metrics, kaggle_score
from volseg.metrics.distance_transform import Mask
from volseg.metrics.mask_pair import MaskPair

SPACING = (1.5, 1.5, 3.0)
TOLERANCES = (2.0, 3.0)
Values = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="without HD by brute force")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    _, truth = phantom.simulate_scan(123, 20, grid=phantom.FULL[0])
    prediction = np.stack([damaged(mask) for mask in truth])
    seconds = in_turn(sides(truth, prediction), given.rounds)
    print(f"{truth.shape[1:]}, {torch.get_num_threads()} threads; median of {given.rounds} rounds")
    for name, took in seconds.items():
        print(f"  {name:28}{1000 * took:8.0f} ms{seconds['MONAI, five'] / took:8.1f} : 1")
    differences(truth, prediction, brute=not given.quick)


def damaged(mask: Mask) -> Mask:
    x, y, z = bounding_box(mask)
    found = np.asarray(binary_dilation(np.roll(mask, 2, axis=0)))
    found[x.start : (x.start + x.stop) // 2, :, (z.start + 2 * z.stop) // 3 :] = False
    found[x.stop + 15 : x.stop + 21, y.start : y.start + 6, z.start : z.start + 4] = True
    return found


def sides(truth: Mask, prediction: Mask) -> dict[str, Callable[[], Any]]:
    """What is timed. MONAI's tensors are made before."""
    y, y_pred = (torch.from_numpy(masks[None]).float() for masks in (truth, prediction))
    return {
        "MONAI, five": lambda: monai(y, y_pred),
        "volseg, all": lambda: [compute_metrics(one) for one in compared(truth, prediction)],
        "volseg, all, and the score": lambda: [
            (
                compute_metrics(a),
                compute_metrics(b),
                compute_metrics(c),
                kaggle_score.scan_terms({"a": a, "b": b, "c": c}),
            )
            for a, b, c in [compared(truth, prediction)]
        ],
    }


def compared(truth: Mask, prediction: Mask) -> list[MaskPair]:
    return [MaskPair(t, p, SPACING) for t, p in zip(truth, prediction, strict=True)]


def monai(y: torch.Tensor, y_pred: torch.Tensor) -> dict[str, list[float]]:
    """MONAI's values of all organs, in 32 bits."""
    space = {"include_background": True, "spacing": SPACING}
    found = {
        "Dice": compute_dice(y_pred, y, include_background=True),
        "HD": compute_hausdorff_distance(y_pred, y, **space),
        "HD95": compute_hausdorff_distance(y_pred, y, percentile=95, **space),
        "NSD2": compute_surface_dice(y_pred, y, [2.0] * y.shape[1], use_subvoxels=True, **space),
        "ASSD": compute_average_surface_distance(y_pred, y, symmetric=True, **space),
    }
    return {name: values[0].tolist() for name, values in found.items()}


def in_turn(every: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """The median seconds of each; one round to warm up does not count."""
    spent: dict[str, list[float]] = {name: [] for name in every}
    for round_ in range(rounds + 1):
        for name in list(every)[:: (-1) ** round_]:
            began = time.perf_counter()
            every[name]()
            spent[name].append(time.perf_counter() - began)
    return {name: statistics.median(times[1:]) for name, times in spent.items()}


def differences(truth: Mask, prediction: Mask, *, brute: bool) -> None:
    """The largest difference over the organs of each value from its reference, and from MONAI's own."""
    ours = [compute_metrics(one) for one in compared(truth, prediction)]
    exact = [references(*pair, brute=brute) for pair in zip(truth, prediction, strict=True)]
    y, y_pred = (torch.from_numpy(masks[None]).float() for masks in (truth, prediction))
    theirs = monai(y, y_pred) | {"IoU": compute_iou(y_pred, y)[0].tolist()}
    print("largest difference: from the reference in 64 bits, from MONAI's value in 32 bits")
    for name in ours[0]:
        found = [values[name] for values in ours]
        told = [
            f"{max(abs(a - b) for a, b in zip(found, other, strict=True)):.1e}" if other else "-"
            for other in ([one[name] for one in exact if name in one], theirs.get(name))
        ]
        print(f"  {name:28}{told[0]:>10}{told[1]:>10}   ({', '.join(f'{v:.4f}' for v in found)})")


def references(truth: Mask, prediction: Mask, *, brute: bool) -> Values:
    """Each metric by its definition, plainly, or by the code that defines it."""
    voxel_ml = math.prod(SPACING) / 1000
    shared, either = (truth & prediction).sum(), (truth | prediction).sum()
    true, predicted = truth.sum() * voxel_ml, prediction.sum() * voxel_ml
    ways = surface_ways(truth, prediction)
    pixels = [(one, one & ~eroded(one)) for one in (truth, prediction)]
    found = {
        "Dice": 2 * shared / (truth.sum() + prediction.sum()),
        "IoU": shared / either,
        "HD95": max(np.quantile(way, 0.95) for way in ways),
        "ASSD": np.concatenate(ways).mean(),
        "APL_mm": (pixels[0][1] & ~pixels[1][1]).sum() * SPACING[0],
        "volume_ml": predicted,
        "truth_ml": true,
        "volume_difference_ml": predicted - true,
        "volume_difference_percent": 100 * (predicted - true) / true,
    }
    if brute:
        found["HD"] = max(farthest(truth, prediction), farthest(prediction, truth))
    return found | deepmind(truth, prediction)


def surface_ways(truth: Mask, prediction: Mask) -> list[np.ndarray]:
    """The ways between MONAI's edges, found like MONAI's but kept in 64 bits."""
    edges = get_mask_edges(torch.from_numpy(prediction), torch.from_numpy(truth))
    one, other = (np.argwhere(np.asarray(edge)) * SPACING for edge in edges)
    return [KDTree(other).query(one)[0], KDTree(one).query(other)[0]]


def eroded(mask: Mask) -> Mask:
    """Without the pixels that have an edge towards the outside, slice by slice."""
    return np.stack([binary_erosion(plane) for plane in np.moveaxis(mask, 2, 0)], axis=2)


def farthest(mask: Mask, target: Mask) -> float:
    """By brute force over all pairs; voxels of both have no way."""
    places, others = (np.argwhere(one) * SPACING for one in (mask & ~target, target))
    chunks = np.array_split(places, len(places) // 100 + 1)
    return max(cdist(chunk, others).min(axis=1).max(initial=0) for chunk in chunks)


def deepmind(truth: Mask, prediction: Mask) -> Values:
    try:
        from surface_distance import compute_surface_dice_at_tolerance, compute_surface_distances
    except ImportError:
        return {}
    distances = compute_surface_distances(truth, prediction, SPACING)
    return {f"NSD{mm:g}": compute_surface_dice_at_tolerance(distances, mm) for mm in TOLERANCES}


if __name__ == "__main__":
    main()
