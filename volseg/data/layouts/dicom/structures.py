"""RTSTRUCT in: a structure set as masks on the grid of the series that it was drawn on."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from volseg.data.layouts.dicom.rasterizing import fill_contours
from volseg.data.layouts.dicom.series import DicomSeries
from volseg.data.layouts.dicom.structure_file import CLOSED, Structure, StructureSet, read_structure_set
from volseg.data.volume import Array, Volume
from volseg.errors import short_repr
from volseg.formatting import format_count

Mask = npt.NDArray[np.bool_]
FLAT_MM = 0.01  # how far the points of a contour, or contours of one plane, may lie from each other across it
OFF_MM = 0.05  # from its slice on it is told how far away a contour lies

FEW, DAMAGED, TILTED = "with fewer than three points", "with damaged numbers", "not parallel to the slices"
BEYOND, OUTSIDE = "beyond the first or last slice", "outside the image"
OTHER_PLANE = "between slices, of which another contour lies nearer"


@dataclass(frozen=True)
class StructureMasks:
    """The masks of structures by name, bool on the grid of their series, and notes of what was skipped."""

    masks: dict[str, Volume]
    notes: tuple[str, ...]


def structure_names(path: Path) -> tuple[str, ...]:
    """The names of the structures in an RTSTRUCT, in its order and each once.

    Raises:
        UserError: pydicom is missing, or no RTSTRUCT that can be read.
    """
    return tuple(structure.name for structure in read_structure_set(path).structures)


def structure_masks(
    path: Path, series: DicomSeries, *, only: Collection[str] | None = None
) -> StructureMasks:
    """The masks (X, Y, Z) of an RTSTRUCT's structures, or of those of these names, on the grid of a series.

    A voxel is in where its centre lies in an odd number of the contours of its slice. A contour is of the
    slice that it lies nearest to, by its place and not by the image that it names.

    Raises:
        UserError: pydicom is missing, or no RTSTRUCT that can be read.
    """
    return masks_of_structures(read_structure_set(path), series, only=only)


def masks_of_structures(
    structures: StructureSet, series: DicomSeries, *, only: Collection[str] | None = None
) -> StructureMasks:
    """The masks of a structure set that was read before."""
    masks, notes = {}, list(structures.notes)
    for structure in structures.structures:
        if only is not None and structure.name not in only:
            continue
        if structure.frame_of_reference_uid not in ("", series.frame_of_reference_uid):
            notes.append(
                f"{short_repr(structure.name)}: is in another frame of reference than the series; skipped"
            )
            continue
        drawing = _Drawing(series)
        planes = drawing.draw(structure)
        masks[structure.name] = series.volume_of_planes(planes)
        notes += (f"{short_repr(structure.name)}: {text}" for text in drawing.notes(structure, planes))
    return StructureMasks(masks, tuple(notes))


class _Drawing:
    """The contours of one structure, drawn on the slices of a series, with counts of what was not."""

    def __init__(self, series: DicomSeries) -> None:
        self.series = series
        self.distances_mm = np.array([plane.distance_mm for plane in series.planes])
        self.shape = series.planes[0].rows, series.planes[0].columns
        self.half_mm = float(np.median(np.diff(self.distances_mm))) / 2
        self.skipped: Counter[str] = Counter()
        self.clipped = 0
        self.caught_nothing = 0
        self.off_mm: list[float] = []

    def draw(self, structure: Structure) -> Mask:
        """The mask (planes, rows, columns)."""
        mask = np.zeros((len(self.series.planes), *self.shape), dtype=bool)
        placed: dict[int, list[tuple[float, Array]]] = defaultdict(list)
        for contour in structure.contours:
            plane, distance_mm, points = self._place(contour.kind, contour.points)
            if points is not None:
                placed[plane].append((distance_mm, points))
        for plane, contours in placed.items():
            flat = [self._in_pixels(plane, points) for points in self._nearest(contours)]
            inside = list(filter(self._reaches_image, flat))
            mask[plane] = fill_contours(inside, self.shape)
            self.caught_nothing += sum(not fill_contours([one], self.shape).any() for one in inside)
        return mask

    def _place(self, kind: str, points: Array | None) -> tuple[int, float, Array | None]:
        """The slice of a contour, how far it lies from it in mm, and its points; none where it is skipped."""
        fault = f"of the kind {kind if kind.isupper() else 'unknown'}" if kind not in CLOSED else ""
        if not fault and points is None:
            fault = DAMAGED
        if points is None or fault:
            self.skipped[fault] += 1
            return 0, 0.0, None
        if len(points) < 3:
            self.skipped[FEW] += 1
            return 0, 0.0, None
        across = points @ self.series.planes[0].normal
        plane = int(np.abs(self.distances_mm - across.mean()).argmin())
        off_mm = float(abs(self.distances_mm[plane] - across.mean()))
        if np.ptp(across) > max(FLAT_MM, self.half_mm / 5):
            self.skipped[TILTED] += 1
        elif off_mm >= self.half_mm:
            self.skipped[BEYOND] += 1
        else:
            return plane, off_mm, points
        return 0, 0.0, None

    def _nearest(self, contours: list[tuple[float, Array]]) -> list[Array]:
        """Of the contours of one slice those of the plane nearest to it: only they are one outline."""
        least = min(off_mm for off_mm, _ in contours)
        kept = [points for off_mm, points in contours if off_mm <= least + FLAT_MM]
        self.skipped[OTHER_PLANE] += len(contours) - len(kept)
        if least > OFF_MM:
            self.off_mm += [least] * len(kept)
        return kept

    def _in_pixels(self, plane: int, points: Array) -> Array:
        """Points (N, 2) in columns and rows of a slice."""
        image = self.series.planes[plane]
        away = points - np.asarray(image.position)
        columns = away @ np.asarray(image.row_direction) / image.column_spacing_mm
        return np.column_stack([columns, away @ np.asarray(image.column_direction) / image.row_spacing_mm])

    def _reaches_image(self, points: Array) -> bool:
        """Whether a contour is drawn; counts those that lie outside of the image, or in part."""
        last = np.array(self.shape[::-1]) - 0.5
        low, high = points.min(axis=0), points.max(axis=0)
        if (high <= -0.5).any() or (low >= last).any():
            self.skipped[OUTSIDE] += 1
            return False
        edge = 1e-3  # what text in a file leaves of a contour on the edge
        self.clipped += bool((low < -0.5 - edge).any() or (high > last + edge).any())
        return True

    def notes(self, structure: Structure, planes: Mask) -> Iterator[str]:
        """What of a structure was not drawn as it stands, in words."""
        if not structure.contours:
            yield "has no contours; its mask is empty"
        for fault, count in sorted((+self.skipped).items()):
            joined = ("that is " if count == 1 else "that are ") if fault == TILTED else ""
            yield f"{format_count(count, 'contour')} {joined}{fault} skipped"
        if self.off_mm:
            yield _off_note(self.off_mm)
        if self.clipped:
            yield f"{format_count(self.clipped, 'contour')} cut off at the edge of the image"
        if self.caught_nothing:
            yield f"{format_count(self.caught_nothing, 'contour')} too small to hold the centre of a voxel"
        drawn = np.flatnonzero(planes.any(axis=(1, 2)))
        gaps = int(drawn[-1] - drawn[0] + 1 - len(drawn)) if drawn.size else 0
        if gaps:
            yield f"{format_count(gaps, 'slice')} between its first and last one without a contour"


def _off_note(off_mm: Sequence[float]) -> str:
    """What is told of contours that lie so far off their slices."""
    if len(off_mm) == 1:
        return f"1 contour {off_mm[0]:.2f} mm off its slice; the nearest slice has it"
    return (
        f"{format_count(len(off_mm), 'contour')} up to {max(off_mm):.2f} mm off their slices; "
        "the nearest slices have them"
    )
