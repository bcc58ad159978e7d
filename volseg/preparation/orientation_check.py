"""Scans that seem to be mirrored, by the places of organs in other patients.

Along each axis of the patient organs lie off the middle, some of them much the same way in everybody. In a
mirror that offset changes its sign. A scan is suspected if its organs are far likelier with the sign changed,
and so lie as in the others. The shares of detected scans are in tests/preparation/test_checks.py.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from volseg.data.dataset import Sample
from volseg.data.layouts.findings import Finding
from volseg.data.volume import Array
from volseg.preparation.fingerprint import Fingerprint

FingerprintByScan = Mapping[str, tuple[Sample, Fingerprint]]

LIKELIER = (
    8.0  # the least logarithm of the likelihood ratio (3,000 times) if exchanged; real scans: at most 2.4
)
FITS = 4.0  # the most spreads from the usual place if exchanged
ALIKE_MM = 2.0  # the least spread of places between patients, even if the few at hand are more alike
CASES = 4  # the least other cases that tell an organ's usual place
SHARE = 80  # per cent of the scans by which the spread is measured, so that a few odd ones do not widen it
NORMAL = 1.2816  # standard deviations from the mean that hold 80 % of a normal distribution


def mirrored_findings(scans: FingerprintByScan) -> Iterator[Finding]:
    """A warning on each scan whose organs lie as usual only if an axis is reversed."""
    labelled = {name: pair for name, pair in scans.items() if pair[1].organs}
    cases = np.array([sample.case for sample, _ in labelled.values()])
    if len(set(cases)) <= CASES:
        return
    fingerprints = [fingerprint for _, fingerprint in labelled.values()]
    for axis, ends in enumerate(("left and right", "front and back", "head and foot")):
        for row, (as_is, exchanged) in _suspected_scans(fingerprints, cases, axis).items():
            message = (
                f"organs lie as in other cases only with {ends} exchanged "
                f"({as_is:.0f} mm off as they are, {exchanged:.0f} mm exchanged)"
            )
            name = list(labelled)[row]
            yield Finding(scan=name, severity="warning", kind="mirrored", message=message)


def _suspected_scans(
    fingerprints: Sequence[Fingerprint], cases: Array, axis: int
) -> dict[int, tuple[float, float]]:
    """The suspected scans, with the mean offsets of their organs as they are and exchanged, mm.

    From left to right and front to back, places are taken from the middle of the body, which turns with
    image and labels, and from the middle of the grid, round which labels alone turn; from head to foot
    from each other, since scans start at different heights.
    """
    centres = _class_centres(fingerprints, axis)
    bodies = [fingerprint.body_mm[axis] for fingerprint in fingerprints]
    grids = [(one.box_mm[0][axis] + one.box_mm[1][axis]) / 2 for one in fingerprints]
    suspected = {}
    for middles in (bodies, grids) if axis < 2 else (np.zeros(len(fingerprints)),):
        places = centres - np.reshape(middles, (-1, 1))
        for row in np.flatnonzero(np.isfinite(places).any(axis=1)):
            others = cases != cases[row]
            offsets = _mirrored_offsets(places[row], places[others], cases[others], relative=axis == 2)
            if offsets:
                suspected[int(row)] = offsets
    return suspected


def _mirrored_offsets(
    place: Array, others: Array, cases: Array, *, relative: bool
) -> tuple[float, float] | None:
    """The mean offsets of a scan's organs as they are and exchanged, mm; None if it is not suspected."""
    known = np.isfinite(place) & (np.isfinite(others).mean(axis=0) > 0.5)
    complete = np.isfinite(others[:, known]).all(axis=1)
    place, others = place[known], others[complete][:, known]
    if not known.any() or len(set(cases[complete])) < CASES:
        return None
    if relative:
        place, others = _relative_positions(place), _relative_positions(others)
    usual = np.median(others, axis=0)
    weights = usual / np.hypot(_robust_deviation(others), ALIKE_MM) ** 2
    scores = others @ weights
    spread = np.hypot(_robust_deviation(scores), ALIKE_MM * np.linalg.norm(weights))
    if not spread:
        return None
    off, off_exchanged = (sign * place @ weights - np.median(scores) for sign in (1, -1))
    likelier = (off**2 - off_exchanged**2) / 2 / spread**2
    if likelier < LIKELIER or abs(off_exchanged) > FITS * spread:
        return None
    return float(np.abs(place - usual).mean()), float(np.abs(place + usual).mean())


def _relative_positions(places: Array) -> Array:
    """The place of each organ (last axis) from the middle of the others; 0 for a single organ."""
    count = places.shape[-1]
    mean = places.mean(axis=-1, keepdims=True)
    return np.asarray((places - mean) * count / max(count - 1, 1))


def _robust_deviation(values: Array) -> Array:
    """The standard deviation of most of the values along the first axis."""
    away = np.abs(values - np.median(values, axis=0))
    return np.asarray(np.percentile(away, SHARE, axis=0) / NORMAL)


def _class_centres(fingerprints: Sequence[Fingerprint], axis: int) -> Array:
    """The centres of classes along an axis in mm, (scans, classes), NaN where a class is missing."""
    scans = [one.organs or {} for one in fingerprints]
    names = sorted({name for classes in scans for name in classes})
    points = [[classes[name].centre_mm if name in classes else None for name in names] for classes in scans]
    return np.array([[point[axis] if point else np.nan for point in row] for row in points])
