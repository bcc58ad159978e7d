"""Stands in for `volseg infer` in tests of the node: an RTSTRUCT and a SEG without contours, in a moment.

Takes the options of `volseg infer`. The environment says what it does instead: STAND_IN is `refuse`, `kill`,
`nothing`, or seconds to take; STAND_IN_LOG a file that gets a line for each start.
"""

import os
import signal
import sys
import time
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ImplicitVRLittleEndian, generate_uid

CLASSES = {"RTSTRUCT": "1.2.840.10008.5.1.4.1.1.481.3", "SEG": "1.2.840.10008.5.1.4.1.1.66.4"}
COPIED = ("SpecificCharacterSet", "PatientName", "PatientID", "StudyInstanceUID", "FrameOfReferenceUID")


def main() -> None:
    words = sys.argv[1:]
    source, out = (Path(words[words.index(name) + 1]) for name in ("--input", "--dicom-out"))
    files = sorted(source.iterdir())
    if log := os.environ.get("STAND_IN_LOG"):
        with Path(log).open("a") as opened:
            opened.write(f"{len(files)}\n")
    wish = os.environ.get("STAND_IN", "0")
    if wish == "refuse":
        sys.stderr.write("volseg: series 1 of 1: a slice is missing\n")
        sys.exit(1)
    if wish == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if wish == "nothing":
        return
    time.sleep(float(wish))
    image = dcmread(files[0], stop_before_pixels=True)
    out.mkdir(parents=True)
    for kind in CLASSES:
        write_result(image, kind, out / f"{kind}.dcm")


def write_result(image: Dataset, kind: str, path: Path) -> None:
    result = Dataset()
    for key in COPIED:
        if key in image:
            setattr(result, key, image[key].value)
    result.SOPClassUID, result.SOPInstanceUID = CLASSES[kind], generate_uid()
    result.SeriesInstanceUID, result.Modality = generate_uid(), kind
    result.file_meta = FileMetaDataset()
    result.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    result.save_as(path, enforce_file_format=True)


if __name__ == "__main__":
    main()
