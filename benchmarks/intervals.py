"""How often 95 % intervals over cases hold the truth: ours, the plain percentile, BCa and t.

Cases have one to five days. Their effects are normal, or as skewed as 1 - Dice (log-normal). The last
column takes each scan for a case of its own. Under a minute:

    .venv/bin/python benchmarks/intervals.py
"""

import numpy as np
import numpy.typing as npt
from scipy import special, stats

from volseg.evaluation import bootstrap

TRIALS, RESAMPLES, COUNTS = 4000, 4000, (8, 12, 20, 40)
Array = npt.NDArray[np.float64]
SPREAD = {"normal": 1.0, "skewed": 0.6}


def truth(kind: str) -> float:
    """The population's mean."""
    return 0.0 if kind == "normal" else -float(np.exp(0.5 * (0.6**2 + 0.4**2)))


def drawn(kind: str, cases: int, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """The scans of `TRIALS` datasets (cases, TRIALS, 5), their sums and numbers (cases, TRIALS)."""
    days = rng.integers(1, 6, (cases, TRIALS))
    effect = SPREAD[kind] * rng.normal(size=(cases, TRIALS, 1))
    scans = effect + 0.4 * rng.normal(size=(cases, TRIALS, 5))
    scans = scans if kind == "normal" else -np.exp(scans)
    kept = np.arange(5) < days[..., None]
    return np.where(kept, scans, np.nan), np.where(kept, scans, 0).sum(axis=2), days


def intervals(scans: Array, sums: Array, days: Array) -> dict[str, Array]:
    """By method, the ends of each dataset's interval, (2, TRIALS)."""
    cases = len(sums)
    times = bootstrap.resample_counts(cases)[:RESAMPLES]
    resampled = (times @ sums) / (times @ days)
    mean = sums.sum(axis=0) / days.sum(axis=0)
    tail = bootstrap.tail_share(cases)
    left_out = (sums.sum(axis=0) - sums) / (days.sum(axis=0) - days)
    pull = left_out.mean(axis=0) - left_out
    skewness = (pull**3).sum(axis=0) / (6 * (pull**2).sum(axis=0) ** 1.5)
    bias = special.ndtri(np.clip((resampled < mean).mean(axis=0), 1e-3, 1 - 1e-3))
    z = bias + special.ndtri(np.array([[0.025], [0.975]]))
    levels = special.ndtr(bias + z / (1 - skewness * z))
    resampled.sort(axis=0)
    rest = sums - mean * days
    error = np.sqrt((rest**2).sum(axis=0) * cases / (cases - 1)) / days.sum(axis=0)
    t = stats.t.ppf(0.975, cases - 1)
    alone = np.nanstd(scans, axis=(0, 2), ddof=1) / np.sqrt(days.sum(axis=0))
    rows = np.clip((levels * len(resampled)).astype(int), 0, len(resampled) - 1)
    return {
        "ours": np.quantile(resampled, (tail, 1 - tail), axis=0),
        "percentile": np.quantile(resampled, (0.025, 0.975), axis=0),
        "BCa": np.take_along_axis(resampled, rows, axis=0),
        "t": mean + t * np.array([-error, error]),
        "over scans": mean + 1.96 * np.array([-alone, alone]),
    }


def main() -> None:
    """Print how many of 100 intervals hold the truth."""
    rng = np.random.default_rng(0)
    print("| values | cases | ours | percentile | BCa | t | over scans |")
    print("|---|---|---|---|---|---|---|")
    for kind in SPREAD:
        for cases in COUNTS:
            found = intervals(*drawn(kind, cases, rng))
            held = [((low <= truth(kind)) & (truth(kind) <= high)).mean() for low, high in found.values()]
            print(f"| {kind} | {cases} | " + " | ".join(f"{100 * one:.1f}" for one in held) + " |")


if __name__ == "__main__":
    main()
