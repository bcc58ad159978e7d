"""How long do encoding and decoding one mask take? Against the loop everyone copies and pycocotools.

Real masks need VOLSEG_TEST_DATA or ../shared/data, and pycocotools, which volseg does not need, a
`.venv/bin/python -m pip install pycocotools`. What is missing is left out, and a line says so.

    .venv/bin/python benchmarks/rle.py
"""

import csv
import os
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from volseg.data import phantom
from volseg.data.layouts.gi_tract import rle

ROUNDS = 5
DATA = Path(os.environ.get("VOLSEG_TEST_DATA") or Path(__file__).parents[1] / "../shared/data")
Shape = tuple[int, int]
Coder = tuple[Callable[[rle.Mask], Any], Callable[[Any, Shape], Any]]  # encode and decode


def loop_encode(mask: rle.Mask) -> str:
    """The idea of countless notebooks."""
    pixels = np.concatenate([[0], mask.T.flatten(), [0]])
    runs = np.where(pixels[1:] != pixels[:-1])[0] + 1
    runs[1::2] -= runs[::2]
    return " ".join(str(x) for x in runs)


def loop_decode(text: str, shape: Shape) -> rle.Mask:
    words = text.split()
    starts, lengths = np.asarray(words[::2], dtype=int) - 1, np.asarray(words[1::2], dtype=int)
    pixels = np.zeros(shape[0] * shape[1], dtype=bool)
    for start, length in zip(starts, lengths, strict=True):
        pixels[start : start + length] = 1
    return pixels.reshape(shape[1], shape[0]).T


def coders() -> dict[str, Coder]:
    """For pycocotools, which counts column by column, (X, Y) are rows and columns: the same runs."""
    found: dict[str, Coder] = {"volseg": (rle.encode, rle.decode), "loop": (loop_encode, loop_decode)}
    try:
        from pycocotools import mask as coco
    except ImportError:
        print("left out: pycocotools; python -m pip install pycocotools")
    else:
        found["pycocotools"] = (
            lambda mask: coco.encode(mask.view(np.uint8)),
            lambda code, _: coco.decode(code),
        )
    return found


def real_texts() -> Iterator[tuple[str, Shape]]:
    for path in (DATA / "uwmgi" / "train.csv", DATA / "uwmgi" / "labels_without_scans.csv"):
        if not path.is_file():
            print(f"left out: no {path}; set VOLSEG_TEST_DATA")
            continue
        for row in csv.DictReader(path.read_text().splitlines()):
            side = 234 if row["id"].startswith("case139") else 276
            yield row["segmentation"], (side, side)


def microseconds(act: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    began = time.perf_counter_ns()
    result = act(*arguments)
    return (time.perf_counter_ns() - began) / 1000, result


def compare(title: str, texts: list[tuple[str, Shape]], every: dict[str, Coder]) -> None:
    """Every coder on every mask that is not empty, another one first in each round."""
    texts, turns = [pair for pair in texts if pair[0]], list(every.items())
    spent = {name: np.empty((2, len(texts), ROUNDS)) for name in every}
    for round_ in range(ROUNDS):
        turns = turns[1:] + turns[:1]
        for index, (text, shape) in enumerate(texts):
            mask = rle.decode(text, shape)
            for name, (encode, decode) in turns:
                spent[name][0, index, round_], code = microseconds(encode, mask)
                spent[name][1, index, round_], again = microseconds(decode, code, shape)
                assert np.array_equal(again, mask)
                assert code == text or name == "pycocotools"
    runs = statistics.median(len(text.split()) // 2 for text, _ in texts)
    print(f"{title}: {len(texts)} masks, {runs:.0f} runs each; median microseconds, times volseg's")
    typical = {name: np.median(np.median(times, axis=2), axis=1) for name, times in spent.items()}
    for name, us in typical.items():
        encode, decode = us / typical["volseg"]
        print(f"  {name:12} encode {us[0]:5.1f} ({encode:.1f}x)  decode {us[1]:5.1f} ({decode:.1f}x)")


def encode_slices(volume: rle.Mask, slices: Callable[[rle.Mask], rle.Mask]) -> list[str]:
    return [rle.encode(plane) for plane in slices(volume)]


def main() -> None:
    every = coders()
    if real := list(real_texts()):
        compare("real, 276x276 and 234x234", real, every)
    volumes = [v for case in (1, 2, 3) for v in phantom.simulate_scan(case, 0, grid=phantom.FULL[1])[1]]
    planes = [plane for volume in volumes for plane in rle.slice_planes(volume)]
    compare("phantom, 360x310", [(rle.encode(plane), plane.shape) for plane in planes], every)
    for name, way in (("as they lie", lambda v: np.moveaxis(v, 2, 0)), ("rle.planes", rle.slice_planes)):
        times = [microseconds(encode_slices, v, way)[0] for v in volumes * ROUNDS]
        each = statistics.median(times) / volumes[0].shape[2]
        print(f"all slices of a phantom's mask, {name}: encode {each:.1f} microseconds a slice")


if __name__ == "__main__":
    main()
