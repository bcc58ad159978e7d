"""How near `volseg prepare` is to the speed at which OpenCV merely decodes the same PNG files.

    .venv/bin/python benchmarks/prepare.py [FOLDER] [--rounds N] [--pillow] [--source RAW]

Draws 20 labelled full-size phantom scans in FOLDER (default: prepare-benchmark/) unless they are there,
then measures in turn, each as a command of its own with its start included, with the files in memory:

- decode: `cv2.imread` of every PNG, spread over as many processes as there are cores; nothing else
- prepare: `volseg prepare` into a new folder, by as many processes
- again: the same once more, when nothing has changed
- plain: a PIL loop, the well-known Python decoder of run-length texts, `nibabel.save`; one process

With --pillow the slices are written anew by Pillow, whose rows are filtered in five ways: `prepare` then
leaves them to OpenCV, while those that OpenCV wrote it unpacks faster by itself.
With --source RAW only prepare and again are measured, once, on a dataset that is there already.
"""

import argparse
import csv
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from pathlib import Path

import psutil

from volseg.system.hardware import available_cores

CLASSES = ("large_bowel", "small_bowel", "stomach")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path("prepare-benchmark"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pillow", action="store_true")
    parser.add_argument("--source", type=Path)
    given = parser.parse_args()
    if given.source:
        big(given.source, given.folder / "prepared")
    else:
        compare(given.folder, given.rounds, pillow=given.pillow)


def compare(folder: Path, rounds: int, *, pillow: bool) -> None:
    raw, out, plain_out = folder / "raw", folder / "prepared", folder / "plain"
    if pillow:
        raw = by_pillow(raw, folder / "raw-pillow")
    elif not (raw / "train.csv").is_file():
        from volseg.data.phantom import write_phantom

        shutil.rmtree(raw, ignore_errors=True)
        write_phantom(raw, cases=10, days=2, full_size=True)
        shutil.rmtree(raw / "test")
    files = sorted(raw.rglob("*.png"))
    size = sum(path.stat().st_size for path in files)
    print(
        f"{len(files)} slices of {size / len(files) / 1000:.0f} kB on average; {available_cores()} processes"
    )
    ways: dict[str, Callable[[], float]] = {
        "decode": lambda: timed([sys.executable, __file__, "decode", str(raw)])[0],
        "prepare": lambda: fresh(raw, out),
        "again": lambda: timed(command(raw, out))[0],
        "plain": lambda: fresh_plain(raw, plain_out),
    }
    for way in ways.values():  # once for the page cache, not counted
        way()
    took: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds):
        for name, way in ways.items():
            took[name].append(way())
        print(f"round {number + 1}: {told({name: times[-1:] for name, times in took.items()})}")
    middle = {name: statistics.median(times) for name, times in took.items()}
    print(f"median: {told(took)}")
    print(f"prepare : decode = {ratio(took['prepare'], took['decode']):.2f} (median of the rounds' ratios)")
    print(f"prepare : plain = 1 : {1 / ratio(took['prepare'], took['plain']):.1f}")
    print(f"slices a second: {len(files) / middle['prepare']:.0f}")
    if not pillow:
        pieces(files[: len(files) // 20])
    shutil.rmtree(out)
    print(f"peak memory of each process (MB): {timed(command(raw, out))[1]}")
    print(f"size : nibabel's = {volumes_size(out) / volumes_size(plain_out):.3f}")


def pieces(paths: Sequence[Path]) -> None:
    """The two pieces that made most difference, each beside what it replaced, on one scan in memory."""
    import zlib

    import cv2
    import numpy as np
    from isal import isal_zlib

    from volseg.data.layouts.gi_tract import png
    from volseg.data.volume_files import LEVEL

    datas = [path.read_bytes() for path in paths]
    voxels = np.stack([png.read(path) for path in paths]).tobytes()
    ways: dict[str, Callable[[], object]] = {
        "OpenCV": lambda: [cv2.imdecode(np.frombuffer(d, np.uint8), -1) for d in datas],
        "png._summed": lambda: [png._decode_differences(d) for d in datas],  # noqa: SLF001
        "zlib level 1": lambda: zlib.compress(voxels, 1),
        f"isal level {LEVEL}": lambda: isal_zlib.compress(voxels, LEVEL),
    }
    took: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(5):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            took[name].append(1000 * (time.perf_counter() - start))
    for name, times in took.items():
        print(f"{name}: {statistics.median(times):.0f} ms for a scan of {len(paths)} slices")


def by_pillow(raw: Path, copy: Path) -> Path:
    """A copy of the dataset whose slices Pillow has packed."""
    from PIL import Image

    if not copy.is_dir():
        shutil.copytree(raw, copy)
        for path in copy.rglob("*.png"):
            with Image.open(path) as image:
                image.load()
                image.save(path)
    return copy


def big(raw: Path, out: Path) -> None:
    shutil.rmtree(out, ignore_errors=True)
    seconds, peaks = timed(command(raw, out))
    print(f"prepare: {seconds:.1f} s, peak memory of each process (MB): {peaks}")
    seconds, peaks = timed(command(raw, out))
    print(f"again: {seconds:.1f} s, peak memory (MB): {peaks}")
    print(f"on disk: {sum(p.stat().st_size for p in out.rglob('*') if p.is_file()) / 1e9:.2f} GB")


def command(raw: Path, out: Path) -> list[str]:
    return [sys.executable, "-m", "volseg", "prepare", str(raw), "--out", str(out)]


def fresh(raw: Path, out: Path) -> float:
    shutil.rmtree(out, ignore_errors=True)
    return timed(command(raw, out))[0]


def fresh_plain(raw: Path, out: Path) -> float:
    shutil.rmtree(out, ignore_errors=True)
    return timed([sys.executable, __file__, "plain", str(raw), str(out)])[0]


def timed(words: Sequence[str]) -> tuple[float, list[int]]:
    """Seconds that a command takes, and the peak memory (MB) of it and each process it starts."""
    os.sync()  # what the command before has written is not written during this one
    start = time.perf_counter()
    child = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    peaks: dict[int, int] = {}
    watcher = threading.Thread(target=_watch, args=(child, peaks), daemon=True)
    watcher.start()
    said = child.communicate()[1]
    seconds = time.perf_counter() - start
    watcher.join()
    if child.returncode:
        sys.exit(f"{' '.join(words)} ended with {child.returncode}:\n{said}")
    return seconds, sorted((round(peak / 1e6) for peak in peaks.values()), reverse=True)


def _watch(child: "subprocess.Popen[str]", peaks: dict[int, int]) -> None:
    while child.poll() is None:
        try:
            for one in [psutil.Process(child.pid), *psutil.Process(child.pid).children(recursive=True)]:
                status = Path(f"/proc/{one.pid}/status").read_text()
                peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
                peaks[one.pid] = int(peak.split()[1]) * 1024
        except (psutil.NoSuchProcess, OSError, StopIteration):
            pass
        time.sleep(0.1)


def told(took: dict[str, list[float]]) -> str:
    return ", ".join(f"{name} {statistics.median(times):.2f} s" for name, times in took.items())


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    return statistics.median(one / other for one, other in zip(ours, theirs, strict=True))


def volumes_size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.nii.gz"))


def decode(raw: Path) -> None:
    """OpenCV alone: every PNG of a scan after the other, scans spread over processes."""
    folders = sorted({path.parent for path in raw.rglob("*.png")})
    with get_context("spawn").Pool(available_cores()) as pool:
        pool.map(decode_scan, folders, chunksize=1)


def decode_scan(folder: Path) -> None:
    import cv2

    cv2.setNumThreads(1)
    for path in folder.iterdir():
        assert cv2.imread(str(path), cv2.IMREAD_UNCHANGED) is not None


def plain(raw: Path, out: Path) -> None:
    """What a notebook does."""
    with (raw / "train.csv").open(newline="") as file:
        texts = {(row["id"], row["class"]): row["segmentation"] for row in csv.DictReader(file)}
    for folder in sorted({path.parent for path in raw.rglob("*.png")}):
        plain_scan(folder, texts, out)


def plain_scan(folder: Path, texts: dict[tuple[str, str], str], out: Path) -> None:
    import nibabel
    import numpy as np
    from PIL import Image

    name = folder.parent.name
    paths = sorted(folder.iterdir())
    planes = [np.asarray(Image.open(path)) for path in paths]
    affine = np.diag([-1.5, -1.5, -3.0, 1.0])
    (out / "images").mkdir(parents=True, exist_ok=True)
    (out / "labels" / name).mkdir(parents=True, exist_ok=True)
    volume = np.stack(planes, axis=-1).astype(np.uint16).transpose(1, 0, 2)
    nibabel.save(nibabel.Nifti1Image(volume, affine), out / "images" / f"{name}.nii.gz")
    for organ in CLASSES:
        masks = []
        for path, plane in zip(paths, planes, strict=True):
            text = texts[f"{name}_slice_{path.name.split('_')[1]}", organ]
            masks.append(plain_decode(text, plane.shape))
        mask = np.stack(masks, axis=-1).transpose(1, 0, 2)
        file = out / "labels" / name / f"{organ}.nii.gz"
        nibabel.save(nibabel.Nifti1Image(mask, affine), file)


def plain_decode(text: str, shape: tuple[int, int]):  # noqa: ANN201
    """The decoder of countless notebooks: a slice is set for each run."""
    import numpy as np

    words = text.split()
    starts, lengths = (np.asarray(words[i::2], dtype=int) for i in (0, 1))
    flat = np.zeros(shape[0] * shape[1], dtype=np.uint8)
    for start, length in zip(starts - 1, lengths, strict=True):
        flat[start : start + length] = 1
    return flat.reshape(shape)


if __name__ == "__main__":
    if sys.argv[1:2] == ["decode"]:
        decode(Path(sys.argv[2]))
    elif sys.argv[1:2] == ["plain"]:
        plain(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        main()
