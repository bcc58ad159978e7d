"""How far the probabilities and masks of inference.py's sides agree."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from inference_sides import CLASSES, Order

PAIRS = {"a: default, plain": ("default", "plain"), "b: no body box, plain": ("whole", "plain")}
CONTROLS = {
    "c: default, fp32 by our windows": ("default", "fp32"),
    "d: fp32 by our windows, plain": ("fp32", "plain"),
    "e: plain from the far end, plain": ("plain_far", "plain"),
}


def agreement(order: Order, *, controls: bool) -> dict[str, dict[str, float]]:
    """How far probabilities and masks differ, for each pair of ways."""
    import nibabel
    import numpy as np

    out = Path(order.out)
    inside = np.load(out / "inside.npy")

    def differences(one: str, other: str) -> dict[str, float]:
        found = (np.load(out / f"{name}.npy") for name in (one, other))
        first, second = (p / np.float32(255) if p.dtype == np.uint8 else p for p in found)
        within = inside[tuple(slice(n) for n in first.shape[1:])]
        return _overall(first, second) | _by_place(first, second, within)

    pairs = PAIRS | CONTROLS if controls else PAIRS
    found = {told: differences(*pair) for told, pair in pairs.items()}
    sides = (out / "ours" / order.scan, out / "plain")
    dices = [
        dice(*(np.asarray(nibabel.load(side / f"{name}.nii.gz").dataobj) > 0 for side in sides))
        for name in CLASSES
    ]
    return found | {"masks as written": _by_class(dices)}


def _overall(one: Any, other: Any) -> dict[str, float]:
    """Of probabilities (K, X, Y, Z)."""
    import numpy as np

    away, near = np.abs(one - other), np.maximum(one, other) > 0.05
    dices = [dice(a >= 0.5, b >= 0.5) for a, b in zip(one, other, strict=True)]
    return _by_class(dices) | {
        "max": float(away.max()),
        "mean": float(away.mean(dtype=np.float64)),
        "mean where any is above 0.05": float(away[near].mean(dtype=np.float64)),
    }


def _by_place(one: Any, other: Any, inside: Any) -> dict[str, float]:
    """Inside and outside the body box, and how sure the second is of something outside."""
    import numpy as np

    away = np.abs(one - other)
    found: dict[str, float] = {}
    for place, where in (("inside", inside), ("outside", ~inside)):
        values = away[:, where]
        found[f"max {place}"] = float(values.max(initial=0))
        found[f"mean {place}"] = float(values.mean(dtype=np.float64)) if values.size else 0.0
    beyond = other[:, ~inside]
    return found | {
        "highest outside": float(beyond.max(initial=0)),
        "mask voxels outside": int((beyond >= 0.5).sum()),
    }


def _by_class(dices: Sequence[float]) -> dict[str, float]:
    return {"Dice": min(dices)} | dict(zip(CLASSES, dices, strict=True))


def dice(one: Any, other: Any) -> float:
    """Of two masks; 1 if both are empty."""
    both = int(one.sum()) + int(other.sum())
    return 2 * int((one & other).sum()) / both if both else 1.0
