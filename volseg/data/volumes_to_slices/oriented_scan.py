"""A scan with its axes turned as slices run, and the grey values of a PNG."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from volseg.data.layouts.gi_tract import rle_csv, writer
from volseg.data.layouts.gi_tract.rle_csv import RleRow
from volseg.data.layouts.raw_dataset import Masks, RawScan
from volseg.data.preprocessing.grid import NetworkGrid
from volseg.data.volume import Volume
from volseg.data.volumes_to_slices.greyscale import GreyImage, to_grey
from volseg.errors import UserError

ASKEW_DEGREES = 0.05  # straight axes differ by less, as a header has 32 bits


@dataclass(frozen=True)
class OrientedScan:
    """A scan whose axes run to the left, the back and the feet.

    `name` is the one in the raw layout; `numbers` are those of its slices from head to feet.
    """

    scan: RawScan
    name: str
    grid: NetworkGrid
    grey: GreyImage
    masks: Masks | None
    numbers: Sequence[int]

    @cached_property
    def obliquity_degrees(self) -> float:
        """The largest angle between an axis and the patient's nearest one."""
        from nibabel.affines import obliquity

        return float(np.rad2deg(obliquity(self.grid.affine)).max())

    def loss_messages(self) -> Iterator[str]:
        """A line for each loss."""
        yield from (finding.message for finding in self.scan.remarks())
        if self.obliquity_degrees > ASKEW_DEGREES:
            yield (
                f"{self.scan.source}: lies oblique by {self.obliquity_degrees:.1f} degrees; its slices "
                "follow its own axes, and the angle to the patient's is lost"
            )
        if self.grey.rounded:
            yield f"{self.scan.source}: its voxels are rounded to steps of {self.grey.scale:g}"

    def rle_rows(self, classes: Sequence[str]) -> list[RleRow]:
        """A row a slice and class, none without labels; one mask at a time is in memory."""
        if self.masks is None:
            return []
        masks = (self.grid.orient(self.masks[class_name]) for class_name in classes)
        return rle_csv.scan_rows(self.name, self.numbers, classes=classes, masks=masks)

    def write_pngs(self, root: Path) -> None:
        """Write the slices below the root."""
        folder = writer.scan_folder(root, self.scan.part, self.name)
        writer.write_slices(folder, self.grey.values, self.numbers, pixel_mm=self.grid.oriented_mm[:2])


def read_channel(scan: RawScan, channel: int, classes: Sequence[str]) -> Volume:
    """One channel of a scan, counted from 0.

    Raises:
        UserError: damaged or missing files, those of the labels too.
    """
    try:
        return scan.channels()[channel]
    except UserError as error:
        problems = [str(error)]
        with _collect_problems("", problems):
            scan.labels(classes, None)
        raise UserError.from_problems(problems) from error


def orient_scan(
    scan: RawScan, image: Volume, *, name: str, classes: Sequence[str], rescale: bool
) -> OrientedScan:
    """A scan's image and masks, their axes turned.

    Raises:
        UserError: labels that are damaged or do not fit, voxels that no PNG holds; all of it.
    """
    problems: list[str] = []
    grid = NetworkGrid.from_volume(image, None)
    values, masks, numbers = None, None, None
    with _collect_problems("", problems):
        masks = scan.labels(classes, image)
    with _collect_problems(f"{scan.source}: ", problems):
        values = to_grey(grid.orient(image.voxels), rescale=rescale)
    with _collect_problems(f"{scan.source}: ", problems):
        numbers = _slice_numbers(scan, image, grid.shape[2])
    if problems or values is None or numbers is None:
        raise UserError.from_problems(problems)
    return OrientedScan(scan, name, grid, values, masks, numbers)


def _slice_numbers(scan: RawScan, image: Volume, count: int) -> Sequence[int]:
    """The source numbers of slices; from 1 where there are none, or where they count along another axis."""
    import nibabel

    if not scan.numbers or nibabel.aff2axcodes(image.affine) != ("L", "P", "I"):
        return range(1, count + 1)
    if len(scan.numbers) != count:
        raise UserError(f"has {count} slices, but numbers for {len(scan.numbers)}; prepare it again")
    return scan.numbers


@contextmanager
def _collect_problems(where: str, problems: list[str]) -> Iterator[None]:
    """Add the UserError of the body to a list instead of raising it."""
    try:
        yield
    except UserError as error:
        problems.append(f"{where}{error}")
