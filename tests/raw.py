"""A raw dataset of four small scans in the competition's layout, built by hand, to be spoilt by tests."""

import struct
import zlib
from pathlib import Path

import numpy as np

COLUMNS, ROWS, FIRST, LAST = 9, 7, 11, 15
SCANS = ("case1_day0", "case1_day5", "case2_day0", "case2_day5")
CLASSES = ("large_bowel", "small_bowel", "stomach")


def png(pixels):
    """The bytes of a PNG of (rows, columns) or (rows, columns, 3), uint8 or uint16."""
    rows, columns = pixels.shape[:2]
    big = pixels.astype(pixels.dtype.newbyteorder(">"))
    colour = 2 if pixels.ndim == 3 else 0
    head = struct.pack(">IIBBBBB", columns, rows, 8 * pixels.dtype.itemsize, colour, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row.tobytes() for row in big))
    parts = [(b"IHDR", head), (b"IDAT", body), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def pixels(seed, shape=(ROWS, COLUMNS)):
    """16-bit noise that uses the whole range and is never 8-bit in disguise."""
    return np.random.default_rng(seed).integers(0, 15866, shape, dtype=np.uint16) | 1


class Raw:
    """The dataset's root, its images (rows, columns) by scan and number, and its rows."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.images = {}
        self.rows = {}
        for index, scan in enumerate(SCANS):
            for number in range(FIRST, LAST + 1):
                self.images[scan, number] = pixels(100 * index + number)
                self.path(scan, number).parent.mkdir(parents=True, exist_ok=True)
                self.path(scan, number).write_bytes(png(self.images[scan, number]))
                for organ in CLASSES:
                    self.rows[f"{scan}_slice_{number:04d}", organ] = ""
            self.rows[f"{scan}_slice_0012", "stomach"] = "1 2 10 1"  # overlaps the next
            self.rows[f"{scan}_slice_0012", "small_bowel"] = "2 1 63 1"
        self.save()

    def folder(self, scan):
        return self.root / "train" / scan.partition("_")[0] / scan

    def path(self, scan, number):
        return self.folder(scan) / "scans" / f"slice_{number:04d}_9_7_1.50_1.63.png"

    @property
    def csv(self):
        return self.root / "train.csv"

    def save(self, header="id,class,segmentation"):
        lines = [f"{name},{organ},{text}" for (name, organ), text in self.rows.items()]
        self.csv.write_text("\n".join([header, *lines, ""]))
