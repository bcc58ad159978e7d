"""How long does cleaning all organs of a full-size scan take, on one core, against plain scipy.ndimage?

    .venv/bin/python benchmarks/postprocess.py [--rounds N]

The scan is a phantom of 266x266x144 voxels. Its probability maps are the true organs, blurred and grainy,
and some hundred islands of noise all over the scan, so that the box around a mask is the whole scan until
small parts are dropped. Every step there is runs in turn on what the one before left (of those that start
anew only the last would count). Both sides get the same mask; the last column counts where they differ.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from scipy import ndimage

from volseg import postprocessing as ours
from volseg.data import phantom
from volseg.postprocessing import StepInput

GRID = phantom.FULL[0]
CORNERS = np.ones((3, 3, 3))
STEPS = (
    ours.Threshold(),
    ours.SmoothAcrossSlices(),
    ours.Hysteresis(),
    ours.DropSmallInSlices(min_mm2=30),
    ours.DropSmall(min_mm3=500),
    ours.FillHoles(),
    ours.FillHolesInSlices(),
    ours.EmptyWeakSlices(min_mm2=60),
    ours.KeepLargest(k=3),
    ours.LimitToBody(),
)


def maps() -> Iterator[StepInput]:
    """The evidence of each organ; arrays lie as NIfTI and volseg's inference leave them."""
    image, masks = phantom.simulate_scan(123, 20, grid=GRID)
    rng = np.random.default_rng(0)
    for mask in masks:
        soft = ndimage.gaussian_filter(mask.astype(np.float32), (2, 2, 1))
        grain, islands = (
            ndimage.gaussian_filter(rng.standard_normal(mask.shape, np.float32), sigma)
            for sigma in ((1.5, 1.5, 0.7), (2.5, 2.5, 1))
        )
        soft += soft * (1 - soft) * grain / grain.std() / 2
        soft += 0.8 * np.clip(islands / islands.std() - 3.4, 0, 1)
        probability = np.asfortranarray(np.rint(255 * soft.clip(0, 1)).astype(np.uint8))
        yield StepInput.from_probability(
            probability, image=np.asfortranarray(image), spacing_mm=GRID.spacing_mm
        )


def threshold(step: Any, seen: StepInput) -> Any:
    return seen.probability >= 255 * step.value


def smooth(step: Any, seen: StepInput) -> Any:
    sigma = step.sigma_mm / seen.spacing_mm[2]
    how = {"sigma": sigma, "axis": 2, "mode": "constant", "truncate": 3.0}
    ones = ndimage.gaussian_filter1d(np.ones(seen.mask.shape[2]), sigma, mode="constant", truncate=3.0)
    return ndimage.gaussian_filter1d(seen.probability.astype(np.float32), **how) >= (255 * step.value * ones)


def hysteresis(step: Any, seen: StepInput) -> Any:
    parts, count = ndimage.label(seen.probability >= 255 * step.low, CORNERS)
    strongest = ndimage.maximum(seen.probability, parts, np.arange(count + 1))
    keep = np.asarray(strongest) >= 255 * step.high
    keep[0] = False
    return keep[parts]


def dropped(mask: Any, least: float, structure: Any) -> Any:
    parts, _ = ndimage.label(mask, structure)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return (sizes >= least)[parts]


def drop_small(step: Any, seen: StepInput) -> Any:
    return dropped(seen.mask, step.min_mm3 / seen.voxel_mm3, CORNERS)


def drop_small_in_slices(step: Any, seen: StepInput) -> Any:
    within = CORNERS * [0, 1, 0]
    return dropped(seen.mask, step.min_mm2 / seen.pixel_mm2, within)


def keep_largest(step: Any, seen: StepInput) -> Any:
    parts, _ = ndimage.label(seen.mask, CORNERS)
    sizes = np.bincount(parts.ravel())[1:]
    return dropped(seen.mask, np.sort(sizes)[-step.k :].min(initial=sizes.max(initial=0)), CORNERS)


def fill_holes(_: Any, seen: StepInput) -> Any:
    return ndimage.binary_fill_holes(seen.mask)


def fill_holes_in_slices(_: Any, seen: StepInput) -> Any:
    slices = (seen.mask[:, :, z] for z in range(seen.mask.shape[2]))
    return np.stack([ndimage.binary_fill_holes(one) for one in slices], axis=2)


def empty_weak_slices(step: Any, seen: StepInput) -> Any:
    strongest = np.where(seen.mask, seen.probability, 0).max(axis=(0, 1))
    enough = seen.mask.sum(axis=(0, 1)) * seen.pixel_mm2 >= step.min_mm2
    return seen.mask & enough & (strongest >= 255 * step.min_probability)


def limit_to_body(step: Any, seen: StepInput) -> Any:
    dark, bright = np.percentile(seen.image, (2, 95))
    tissue = (seen.image > dark + (bright - dark) / 12).astype(np.float32)
    cubes = ndimage.uniform_filter(tissue, 3, mode="constant") > 20.5 / 27
    reach = [3 + 2 * int(np.ceil(step.margin_mm / mm)) for mm in seen.spacing_mm]
    near = ndimage.maximum_filter(cubes, size=reach, mode="constant")
    slices = (near[:, :, z] for z in range(near.shape[2]))
    return seen.mask & np.stack([ndimage.binary_fill_holes(one) for one in slices], axis=2)


PLAIN: dict[str, Callable[[Any, StepInput], Any]] = {
    "threshold": threshold,
    "smooth_across_slices": smooth,
    "hysteresis": hysteresis,
    "drop_small": drop_small,
    "drop_small_in_slices": drop_small_in_slices,
    "keep_largest": keep_largest,
    "fill_holes": fill_holes,
    "fill_holes_in_slices": fill_holes_in_slices,
    "empty_weak_slices": empty_weak_slices,
    "limit_to_body": limit_to_body,
}


def timed(act: Callable[..., Any], *given: Any) -> tuple[float, Any]:
    begun = time.perf_counter()
    result = act(*given)
    return (time.perf_counter() - begun) * 1000, result


def step_by_step(scan: list[StepInput]) -> dict[str, tuple[float, float, int]]:
    """For each step the milliseconds of both sides for all organs, and voxels where they differ."""
    table: dict[str, tuple[float, float, int]] = {}
    for start in scan:
        seen = start.with_mask(start.mask.copy())
        for step in STEPS:
            fresh = StepInput(seen.mask, seen.probability, seen.image, seen.spacing_mm)
            one, mask = timed(step, fresh)
            two, other = timed(PLAIN[step.name], step, seen)
            before = table.get(step.name, (0.0, 0.0, 0))
            table[step.name] = tuple(
                a + b for a, b in zip(before, (one, two, int((mask != other).sum())), strict=True)
            )
            seen = seen.with_mask(mask)
    return table


def whole(scan: list[StepInput], *, told: bool) -> float:
    """Milliseconds of `clean` with every step on all organs, from the probability on."""
    begun = time.perf_counter()
    for one in scan:
        start = StepInput.from_probability(one.probability, image=one.image, spacing_mm=one.spacing_mm)
        ours.apply_steps(start, STEPS, "organ", [] if told else None)
    return (time.perf_counter() - begun) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    rounds = range(parser.parse_args().rounds)
    os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
    scan = list(maps())
    whole(scan, told=True)  # loads what is loaded on first use
    tables = [step_by_step(scan) for _ in rounds]
    print(f"{'':22} {'volseg ms':>10} {'scipy ms':>10} {'ratio':>7} {'voxels apart':>13}")
    for step in STEPS:
        mine, plain, apart = (
            statistics.median(table[step.name][column] for table in tables) for column in range(3)
        )
        print(f"{step.name:22} {mine:10.1f} {plain:10.1f} {plain / mine:7.1f} {apart:13.0f}")
    mine, plain = (
        statistics.median(sum(row[column] for row in table.values()) for table in tables)
        for column in range(2)
    )
    print(f"{'each by itself':22} {mine:10.1f} {plain:10.1f} {plain / mine:7.1f}")
    for name, told in (("clean", False), ("clean, changes told", True)):
        mine = statistics.median(whole(scan, told=told) for _ in rounds)
        print(f"{name:22} {mine:10.1f}")


if __name__ == "__main__":
    main()
