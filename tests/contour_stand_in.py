"""Stands in for `volseg infer` in tests of the node: an RTSTRUCT and a SEG without contours, in a moment.

Takes the options of `volseg infer`. The environment says what it does instead: STAND_IN is `refuse`,
`several`, `kill`, `nothing`, `unlike`, or seconds to take; STAND_IN_LOG a file that gets a line for each
start. It is started so often that it loads no library where the image is of the plain kind: its tags are
copied byte by byte.
"""

import json
import os
import signal
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
CLASSES = {"RTSTRUCT": "1.2.840.10008.5.1.4.1.1.481.3", "SEG": "1.2.840.10008.5.1.4.1.1.66.4"}
COPIED = (0x0008_0005, 0x0010_0010, 0x0010_0020, 0x0020_000D, 0x0020_0052)  # charset, patient, study, frame
LONG = {"OB", "OD", "OF", "OL", "OW", "SQ", "UC", "UN", "UR", "UT"}
REFUSALS = {
    "refuse": "volseg: series 1 of 1: a slice is missing\n",
    "several": "note: nothing\nvolseg: DICOM: 2 volumes; pick by --series NUMBER or NAME:\n"
    "  1: scan_a (echo time 20 ms)\n  2: scan_b (echo time 80 ms)\n",
}


def main() -> None:
    words = sys.argv[1:]
    source, out = (Path(words[words.index(name) + 1]) for name in ("--input", "--dicom-out"))
    files = sorted(source.iterdir())
    if log := os.environ.get("STAND_IN_LOG"):
        with Path(log).open("a") as opened:
            opened.write(f"{len(files)}\n")
    wish = os.environ.get("STAND_IN", "0")
    if wish in REFUSALS:
        sys.stderr.write(REFUSALS[wish])
        sys.exit(1)
    if wish == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if wish == "nothing":
        return
    if wish == "unlike":  # what `volseg infer` says of it in its record
        masks = Path(words[words.index("--out") + 1]) / "scan"
        masks.mkdir(parents=True)
        told = {"scan": "scan", "status": "done", "classes": [], "seen": "none", "outside": ["a CT"]}
        (masks / "record.json").write_text(json.dumps(told))
        wish = "0"
    time.sleep(float(wish))
    tags = read_tags(files[0].read_bytes())
    out.mkdir(parents=True)
    for kind in CLASSES:
        (out / f"{kind}.dcm").write_bytes(encode_result(tags, kind))


def read_tags(file: bytes) -> dict[int, bytes]:
    """The values of the tags that are copied, as they are encoded."""
    meta = dict(explicit_elements(file, 132, 0x0002_FFFF))
    start = 132 + 12 + struct.unpack("<I", meta[0x0002_0000])[0]
    if meta[0x0002_0010].rstrip(b"\0").decode() != EXPLICIT:
        return read_tags_slowly(file)
    try:
        found = dict(explicit_elements(file, start, max(COPIED)))
    except ValueError:
        return read_tags_slowly(file)
    return {tag: found[tag] for tag in COPIED if tag in found}


def explicit_elements(file: bytes, place: int, last: int) -> Iterator[tuple[int, bytes]]:
    """Tags and values in explicit VR, little endian, as far as the last tag."""
    while place < len(file):
        group, element, vr, length = struct.unpack_from("<HH2sH", file, place)
        if (tag := group << 16 | element) > last:
            return
        place += 8
        if vr.decode("latin-1") in LONG:
            (length,) = struct.unpack_from("<I", file, place)
            place += 4
        if length == 0xFFFF_FFFF:
            raise ValueError
        yield tag, file[place : place + length]
        place += length


def read_tags_slowly(file: bytes) -> dict[int, bytes]:
    """The same for images of any kind."""
    import io

    from pydicom import dcmread

    image = dcmread(io.BytesIO(file), stop_before_pixels=True)
    found = {tag: image.get_item(tag).value for tag in COPIED if tag in image}
    return {tag: value if isinstance(value, bytes) else str(value).encode() for tag, value in found.items()}


def encode_result(tags: dict[int, bytes], kind: str) -> bytes:
    """A file of these tags and new UIDs, in implicit VR."""
    instance = new_uid()
    values = {
        **tags,
        0x0008_0016: CLASSES[kind].encode(),
        0x0008_0018: instance,
        0x0008_0060: kind.encode(),
        0x0020_000E: new_uid(),
    }
    meta = b"".join(
        (
            struct.pack("<HH2sHI", 2, 1, b"OB", 0, 2) + b"\0\1",
            encode_uid(0x02, CLASSES[kind].encode()),
            encode_uid(0x03, instance),
            encode_uid(0x10, IMPLICIT.encode()),
            encode_uid(0x12, new_uid()),
        )
    )
    length = struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(meta))
    body = b"".join(encode_implicit(tag, values[tag]) for tag in sorted(values))
    return b"\0" * 128 + b"DICM" + length + meta + body


def encode_uid(element: int, uid: bytes) -> bytes:
    uid += b"\0" * (len(uid) % 2)
    return struct.pack("<HH2sH", 2, element, b"UI", len(uid)) + uid


def encode_implicit(tag: int, value: bytes) -> bytes:
    value += (b" " if tag == 0x0008_0060 else b"\0") * (len(value) % 2)
    return struct.pack("<HHI", tag >> 16, tag & 0xFFFF, len(value)) + value


def new_uid() -> bytes:
    return f"2.25.{uuid4().int}".encode()


if __name__ == "__main__":
    main()
