"""A raw scan of DICOM: a series, and the structure sets that were drawn on it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from volseg.data.layouts.dicom.pixels import read_volume
from volseg.data.layouts.dicom.series import DicomSeries
from volseg.data.layouts.dicom.structures import structure_masks
from volseg.data.layouts.findings import Finding
from volseg.data.layouts.nifti.label_files import MaskPerFile
from volseg.data.layouts.raw_dataset import Masks, RawScan, file_stamps
from volseg.data.packed_mask import PackedMask
from volseg.data.volume import Volume

Drawn = tuple[str, Path, str]
"""A class, the structure set with its contours, and the name that it has there."""


@dataclass(frozen=True)
class DicomScan(RawScan):
    """A series as a scan; `drawn` are its classes, none of a scan without labels.

    No text names its files, as their names may be a patient's; `warnings` tell why it has no labels.
    """

    series: DicomSeries
    drawn: tuple[Drawn, ...] = field(default=(), repr=False)
    warnings: tuple[str, ...] = ()

    @property
    def source(self) -> Path:
        """The series by its name, which tells no patient."""
        return Path(self.series.name)

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of the planes, then those of the structures."""
        planes = (plane.path for plane in self.series.planes)
        return tuple(dict.fromkeys((*planes, *(path for _, path, _ in self.drawn))))

    @property
    def is_private(self) -> bool:
        """Yes: it is of a patient of the clinic that prepares it."""
        return True

    @property
    def stamp(self) -> tuple[str, ...]:
        """Files with size and time, wherever they lie, and the names of the structures."""
        files = (stamp for path in self.files for stamp in file_stamps([path], path.parent))
        frames = ((plane.sop_instance_uid, plane.frame, plane.rescale) for plane in self.series.planes)
        return (*files, repr([*frames]), repr([(name, drawn) for name, _, drawn in self.drawn]))

    def channels(self) -> list[Volume]:
        """The image, decoded in a process of its own."""
        return [read_volume(self.series)]

    def labels(self, classes: Sequence[str], image: Volume | None) -> Masks | None:
        """Masks of the classes by even-odd filling of their contours; None without labels."""
        del image  # the masks lie on the series, as it does
        if not self.drawn:
            return None
        masks: dict[str, PackedMask] = {}
        notes: list[str] = []
        for path in dict.fromkeys(path for _, path, _ in self.drawn):
            wanted = {drawn: name for name, place, drawn in self.drawn if place == path and name in classes}
            read = structure_masks(path, self.series, only=wanted)
            notes += read.notes
            masks |= {wanted[drawn]: PackedMask.from_mask(one.voxels) for drawn, one in read.masks.items()}
        return MaskPerFile({name: masks[name] for name in classes}, tuple(notes))

    def remarks(self, masks: Masks | None = None) -> list[Finding]:
        """A warning for each oddity of the structures."""
        warn = partial(Finding, scan=self.name, severity="warning")
        notes = masks.notes if isinstance(masks, MaskPerFile) else ()
        return [
            *(warn(kind="structures", message=text) for text in self.warnings),
            *(warn(kind="contours", message=text) for text in notes),
        ]
