"""The mask of one phantom as RTSTRUCT by three writers, read by one judge; and the time of ours at full size.

The writers are rt-utils as PyPI has it, TotalSegmentator's own function that writes what it predicts (which
calls rt-utils), and volseg. The judge is dcmrtstruct2nii, the work of others too. The first two and the judge
run in environments of their own, made from PyPI where they are missing. TotalSegmentator is installed without
what it needs to predict: its function gets the mask instead, on the grid of the NIfTI file that its own
conversion makes of the series.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.dicom.geometry_phantom import geometry_mask, organ_masks, phantom_series  # noqa: E402
from volseg.data import volume_files  # noqa: E402
from volseg.data.layouts.dicom.series import DicomSeries  # noqa: E402
from volseg.data.volume import turned_like  # noqa: E402
from volseg.data.volume_files import write_volume  # noqa: E402
from volseg.dicom.rtstruct import write_rtstruct  # noqa: E402

Mask = npt.NDArray[np.bool_]
PACKAGES: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "writers": (("rt-utils==1.2.7", "dicom2nifti", "nibabel", "tqdm", "requests"),
                ("--no-deps", "TotalSegmentator==2.18.0")),
    "judge": (("dcmrtstruct2nii==5", "numpy<2", "pydicom<3"),),
}  # fmt: skip
SERIES: Mapping[str, tuple[str, tuple[float, float, float]]] = {
    "axial, square pixels": ("axial", (1.25, 1.25, 3.0)),
    "axial, 1.25 x 1.5 mm": ("axial", (1.25, 1.5, 3.0)),
    "axial, rows upwards": ("axial_up", (1.25, 1.5, 3.0)),
    "oblique": ("oblique", (1.25, 1.5, 3.0)),
    "coronal": ("coronal", (1.25, 1.5, 3.0)),
    "sagittal": ("sagittal", (1.25, 1.5, 3.0)),
}
BY_RT_UTILS = """
import sys
import numpy as np
from rt_utils import RTStructBuilder

series, planes, uids, out, pin_hole = sys.argv[1:]
structures = RTStructBuilder.create_new(dicom_series_path=series)
places = open(uids).read().split()
order = [places.index(str(image.SOPInstanceUID)) for image in structures.series_data]
mask = np.load(planes)[order].transpose(1, 2, 0)
structures.add_roi(mask=mask, name="Organ", use_pin_hole=pin_hole == "pin_hole")
structures.save(out)
"""
CONVERT = """
import sys, types
sys.modules["torch"] = types.ModuleType("torch")  # only named by the modules that are loaded
from totalsegmentator.dicom_io import dcm_to_nifti

dcm_to_nifti(sys.argv[1], sys.argv[2])
"""
BY_TOTALSEGMENTATOR = """
import sys, types
sys.modules["torch"] = types.ModuleType("torch")
import nibabel
import numpy as np
from totalsegmentator.dicom_io import save_mask_as_rtstruct

series, mask, out = sys.argv[1:]
save_mask_as_rtstruct(np.asarray(nibabel.load(mask).dataobj), {1: "Organ"}, series, out)
"""
JUDGE = """
import sys
from dcmrtstruct2nii import dcmrtstruct2nii

structures, series, out = sys.argv[1:]
dcmrtstruct2nii(structures, series, out, convert_original_dicom=False)
"""


@dataclass(frozen=True)
class Case:
    """A series of DICOM with a mask (planes, rows, columns), and a folder for what is made of them."""

    folder: Path
    series: DicomSeries
    mask: Mask
    pythons: Mapping[str, Path]

    @property
    def images(self) -> Path:
        """The folder of the images."""
        return self.series.planes[0].path.parent

    def run(self, environment: str, code: str, *words: object) -> None:
        """Run a few lines of Python in one of the environments.

        Raises:
            RuntimeError: they failed; the last line says why.
        """
        command = [str(self.pythons[environment]), "-c", code, *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr.strip().splitlines()[-1])

    def write_by(self, writer: str) -> Path:
        """The RTSTRUCT that a writer makes."""
        path = self.folder / f"{writer.replace(' ', '_')}.dcm"
        if writer == "volseg":
            write_rtstruct(path, self.series, organ_masks({"organ": self.mask}))
        elif writer == "TotalSegmentator":
            image, mask = self.folder / "image.nii.gz", self.folder / "mask.nii.gz"
            self.run("writers", CONVERT, self.images, image)
            own = self.series.volume_of_planes(self.mask.astype(np.uint8))
            turned = turned_like(own, volume_files.read(image))
            if turned is None:
                raise RuntimeError("its NIfTI file is on another grid than the series")
            write_volume(turned, mask)
            self.run("writers", BY_TOTALSEGMENTATOR, self.images, mask, path)
        else:
            planes, uids = self.folder / "planes.npy", self.folder / "uids.txt"
            np.save(planes, self.mask)
            uids.write_text("\n".join(plane.sop_instance_uid for plane in self.series.planes))
            self.run("writers", BY_RT_UTILS, self.images, planes, uids, path, writer.rpartition(" ")[2])
        return path

    def judged(self, path: Path) -> Mask:
        """The mask (planes, rows, columns) that the judge reads in an RTSTRUCT."""
        out = path.with_suffix("")
        self.run("judge", JUDGE, path, self.images, out)
        (file,) = out.glob("*.nii.gz")
        planes = self.series.planes_of_volume(volume_files.read(file))
        if planes is None:
            raise RuntimeError("the judge's mask is on another grid")
        return np.asarray(planes != 0)


WRITERS = ("rt-utils", "rt-utils pin_hole", "TotalSegmentator", "volseg")


def main() -> None:
    """Make the environments, then print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--environments", type=Path, default=Path.home() / ".cache/volseg/dicom_writers",
        help="the folder of the virtual environments, made from PyPI where they are missing",
    )  # fmt: skip
    parser.add_argument("--only-speed", action="store_true", help="only the time and size at 512x512x200")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if not given.only_speed:
            pythons = {name: install(given.environments / name, PACKAGES[name]) for name in PACKAGES}
            print_writers(Path(folder), pythons)
        print_speed(Path(folder))


def install(folder: Path, steps: tuple[tuple[str, ...], ...]) -> Path:
    """The interpreter of an environment with packages of PyPI, made where it is missing."""
    python, done = folder / "bin/python", folder / "installed"
    if not done.is_file():
        print(f"{folder}: installing from PyPI", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        for words in steps:
            subprocess.run([str(python), "-m", "pip", "install", "-q", *words], check=True)
        done.write_text("")
    return python


def print_writers(folder: Path, pythons: Mapping[str, Path]) -> None:
    """A row for each series: Dice with the mask, voxels that are too many and too few, by writer."""
    print("| series |" + "".join(f" {writer} |" for writer in WRITERS))
    print("|---|" + "---|" * len(WRITERS))
    for number, (name, (orientation, spacing_mm)) in enumerate(SERIES.items()):
        place = folder / str(number)
        series = phantom_series(place / "series", orientation=orientation, spacing_mm=spacing_mm)
        case = Case(place, series, geometry_mask(), pythons)
        print(f"| {name} |" + "".join(f" {verdict(case, writer)} |" for writer in WRITERS), flush=True)


def verdict(case: Case, writer: str) -> str:
    """Dice, and the voxels that the judge reads too many and too few; or why there is nothing to read."""
    try:
        read = case.judged(case.write_by(writer))
    except (RuntimeError, ValueError) as error:
        return f"fails: {str(error)[:80]}"
    more, fewer = int((read & ~case.mask).sum()), int((case.mask & ~read).sum())
    dice = 2 * int((read & case.mask).sum()) / int(read.sum() + case.mask.sum())
    return f"{dice:.3f} (+{more} -{fewer})"


def full_size_masks() -> Iterator[tuple[str, Mask]]:
    """Five organs of 512x512x200: wavy, with holes, as large as those of an abdomen."""
    planes, rows, columns = np.ogrid[:200, :512, :512]
    places = (
        (100, 180, 180, 90),
        (110, 300, 330, 70),
        (90, 340, 170, 60),
        (60, 250, 256, 110),
        (140, 260, 260, 80),
    )
    for name, (plane, row, column, radius) in zip("abcde", places, strict=True):
        angle = np.arctan2(rows - row, columns - column)
        wave = radius * (1 + 0.15 * np.sin(9 * angle + planes / 7) + 0.05 * np.sin(31 * angle))
        distance = np.hypot(rows - row, columns - column)
        height = np.clip(1 - ((planes - plane) / 80.0) ** 2, 0, None)
        mask = distance < wave * np.sqrt(height)
        mask &= ~((rows // 24 + columns // 24 + planes // 9) % 7 == 0) | (distance > 0.8 * wave)
        yield name, mask


def print_speed(folder: Path) -> None:
    """The seconds, megabytes and contours of one RTSTRUCT of five organs of 512x512x200."""
    shape = (200, 512, 512)
    series = phantom_series(
        folder / "large", shape=shape, spacing_mm=(0.8, 0.8, 2.0), modality="CT",
        pixels=np.zeros(shape, np.int16),
    )  # fmt: skip
    organs = organ_masks(dict(full_size_masks()))
    path = folder / "large.dcm"
    start, busy = time.perf_counter(), time.process_time()
    write_rtstruct(path, series, organs)
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    from pydicom import dcmread

    drawn = [len(one.ContourSequence) for one in dcmread(path).ROIContourSequence]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    voxels = sum(int(one.planes.sum()) for one in organs)
    print(
        f"\n512x512x200, {len(organs)} organs of {voxels / 1e6:.1f} million voxels together: {seconds:.1f} s "
        f"({busy:.1f} s of one core), {path.stat().st_size / 1e6:.1f} MB, {sum(drawn)} contours, "
        f"at most {peak:.1f} GB of memory with the masks"
    )


if __name__ == "__main__":
    main()
