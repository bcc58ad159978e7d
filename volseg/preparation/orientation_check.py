"""Scans that look as if somebody had mirrored them, by where their organs lie in the other patients.

Along each axis of the patient an organ lies some way off the middle, in some organs and along some axes
much the same way in everybody. Seen in a mirror that way changes its sign. A scan is suspected if its
organs are far likelier with the sign changed, and so lie as in the others.

The figures of how many are caught are in tests/data/test_checks.py.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from volseg.data.dataset import Sample
from volseg.data.layouts.findings import Finding
from volseg.data.volume import Array
from volseg.preparation.fingerprint import ClassFingerprint, Fingerprint, Point

FingerprintByScan = Mapping[str, tuple[Sample, Fingerprint]]

LIKELIER = 8.0
"""So much likelier (natural logarithm: 3,000 times) organs must be if exchanged; real scans: at most 2.4."""
FITS = 4.0
"""... and, exchanged, at most so many spreads from where they usually lie."""
ALIKE_MM = 2.0
"""Where organs lie differs between patients by this at least, even if the few at hand are more alike."""
CASES = 4
"""So many other cases are needed to say where an organ usually lies."""
SHARE = 80
"""The spread is taken from this percentage of the scans, so that a few odd ones do not widen it."""
NORMAL = 1.2816  # so many standard deviations from the mean hold 80 % of a normal distribution


def mirrored_findings(seen: FingerprintByScan) -> Iterator[Finding]:
    """A warning on each scan whose organs lie as usual only if an axis is turned round."""
    labelled = {name: one for name, one in seen.items() if one[1].organs}
    cases = np.array([sample.case for sample, _ in labelled.values()])
    if len(set(cases)) <= CASES:
        return
    prints = [print_ for _, print_ in labelled.values()]
    for axis, ends in enumerate(("left and right", "front and back", "head and foot")):
        for row, (as_is, exchanged) in _suspected_scans(prints, cases, axis).items():
            told = (
                f"organs lie as in other cases only with {ends} exchanged "
                f"({as_is:.0f} mm off as they are, {exchanged:.0f} mm exchanged)"
            )
            name = list(labelled)[row]
            yield Finding(scan=name, severity="warning", kind="mirrored", message=told)


def _suspected_scans(
    prints: Sequence[Fingerprint], cases: Array, axis: int
) -> dict[int, tuple[float, float]]:
    """The suspected scans, with how far off their organs are as they are and exchanged, mm.

    From left to right and front to back organs are seen from the middle of the body, which turns with
    image and labels, and from the middle of the grid, round which labels alone turn. From head to foot
    they are seen from each other, since scans start at different heights.
    """
    centres = _class_centres(prints, axis)
    middles = [[one.body_mm[axis] for one in prints], [_box_middle(one.box_mm, axis) for one in prints]]
    found = {}
    for middle in middles if axis < 2 else [np.zeros(len(prints))]:
        places = centres - np.reshape(middle, (-1, 1))
        for row in np.flatnonzero(np.isfinite(places).any(axis=1)):
            others = cases != cases[row]
            told = _mirrored_offsets(places[row], places[others], cases[others], alone=axis == 2)
            if told:
                found[int(row)] = told
    return found


def _mirrored_offsets(
    place: Array, others: Array, cases: Array, *, alone: bool
) -> tuple[float, float] | None:
    """How far a scan's organs are off as they are and exchanged, mm, if it is suspected."""
    known = np.isfinite(place) & (np.isfinite(others).mean(axis=0) > 0.5)
    whole = np.isfinite(others[:, known]).all(axis=1)
    place, others = place[known], others[whole][:, known]
    if not known.any() or len(set(cases[whole])) < CASES:
        return None
    if alone:
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
    """Each organ (last axis) as it is seen from the middle of the others; 0 for one alone."""
    count = places.shape[-1]
    mean = places.mean(axis=-1, keepdims=True)
    return np.asarray((places - mean) * count / max(count - 1, 1))


def _robust_deviation(values: Array) -> Array:
    """The standard deviation of most of the values along the first axis."""
    away = np.abs(values - np.median(values, axis=0))
    return np.asarray(np.percentile(away, SHARE, axis=0) / NORMAL)


def _class_centres(prints: Sequence[Fingerprint], axis: int) -> Array:
    """The organs' centres along an axis (scans, organs), NaN where one is missing."""
    names = sorted({name for one in prints for name in one.organs or {}})

    def centre(organ: ClassFingerprint | None) -> float:
        return organ.centre_mm[axis] if organ and organ.centre_mm else np.nan

    return np.array([[centre((one.organs or {}).get(name)) for name in names] for one in prints])


def _box_middle(box_mm: tuple[Point, Point], axis: int) -> float:
    return (box_mm[0][axis] + box_mm[1][axis]) / 2
