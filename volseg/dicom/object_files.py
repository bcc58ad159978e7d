"""Files of objects: for their owner's eyes alone, and those of one scan in place together."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from volseg.data.layouts.dicom.headers import RTSTRUCT
from volseg.data.layouts.dicom.quiet_reading import silenced_pydicom
from volseg.errors import OutputError
from volseg.system.files import atomic_path, unwritable_reason

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


def check_output_folder(folder: Path) -> None:
    """Raise an OutputError where a folder can't be written, or made where it is missing; nothing is left."""
    nearest = next(one for one in (folder, *folder.absolute().parents) if os.path.lexists(one))
    with _write_errors(folder), tempfile.TemporaryFile(dir=nearest):
        pass


@silenced_pydicom()
def write_objects(objects: Mapping[Path, "Dataset"]) -> None:
    """Write objects of one folder, which is made if missing: all are whole before the first has its name.

    An RTSTRUCT is written with implicit VR: with explicit VR no contour could have more than 64 kB.

    Raises:
        OutputError: the disk is full or the folder can't be written.
    """
    for path in objects:
        with _write_errors(path.parent):
            _make_private_folder(path.parent)
    with ExitStack() as renames:
        for path, dataset in objects.items():
            renames.enter_context(_write_errors(path.parent))
            temporary = renames.enter_context(atomic_path(path))
            _write_file(dataset, temporary, implicit=dataset.SOPClassUID == RTSTRUCT)


def _write_file(dataset: "Dataset", path: Path, *, implicit: bool) -> None:
    from pydicom import dcmwrite
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    charset = dataset._character_set  # noqa: SLF001 - as if read so, for then bytes stay as they are
    dataset.set_original_encoding(implicit, True, charset)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        dcmwrite(file, dataset, enforce_file_format=True)


def _make_private_folder(folder: Path) -> None:
    """Make a folder, and those above it, that only its owner may enter; one that is there stays as it is."""
    for path in reversed([one for one in (folder, *folder.parents) if not one.exists()]):
        path.mkdir(mode=0o700, exist_ok=True)


@contextmanager
def _write_errors(folder: Path) -> Iterator[None]:
    """Turn every error of the file system into an OutputError: there are places such as /proc/x."""
    try:
        yield
    except OSError as error:
        reason = unwritable_reason(error) or f"{error.strerror}; choose another output folder"
        raise OutputError(f"{folder}: can't be written: {reason}") from error
