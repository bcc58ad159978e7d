"""Whole `volseg infer` beside a plain MONAI script: seconds, memory, and whether their masks agree.

    python benchmarks/inference.py RUNS --train --raw-real RAW     # once: data and runs, below RUNS
    python benchmarks/inference.py RUNS [--networks unet] [--repeats 3] [--tta] [--out results.json]

RUNS holds `unet_phantom`, `unet_real`, `segresnet_phantom` and so on. `--train` makes what is missing:
it draws `volseg phantom RUNS/data/raw --cases 5 --days 1 --full-size --seed 0`, prepares that and RAW (a
raw folder with train/case139), and trains each network on the phantom and from there on the real scan,
by SETTINGS and COURSES below. Few steps: the networks find organs, they are no good ones. The phantom's
scan (266x266x144) is one that training did not see, the real one (case139_day0) one that it did.

Each side runs as a child process of its own on all cores of the affinity, in turn, each round in the other
order; a side's start-up ends when its network is ready (its one-off conversion is told apart), its seconds
go from there to the last file written. Runs are copied first, so RUNS stays as it is.

- ours: volseg's stage, as the command calls it: from the prepared image to masks, cleaned, and run-lengths
- plain: MONAI's class in fp32 under `sliding_window_inference` (96^3, overlap 0.5, Gaussian), in batches of
  1 or 4, whichever is faster; sigmoid, threshold, a file a class; no cleaning and no run-lengths

With --tta both take the mean over the scan mirrored along nothing, x, y and both.

- whole: ours without the body box, whose windows are MONAI's in place and weight

Then, not timed, probabilities are compared: plain's with (a) ours and (b) ours without the body box. With
--controls also (d) fp32 torch under our windows with plain, (c) ours with that, where only arithmetic
differs, and, as a measure of what the place of the windows does to such a network, (e) plain with itself, its
windows laid from the far end. Outside the body box our probability is 0, and plain's is what it is. `share
of peak` is the operations of MONAI's network in all windows, by the seconds, by what a 4096^3 matmul in bf16
reaches.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

from inference_agreement import agreement
from inference_sides import Order, controls, maps, ours, peak, pick, plain, whole

from volseg.system.hardware import available_cores

SCANS = {"phantom": "case130_day30", "real": "case139_day0"}
SETTINGS = (
    "data.split=none",
    "augment.rotate_degrees=0",
    "augment.scale=0",
    "optimizer.warmup=0.1",
    "train.patch=[64,64,64]",
    "train.epoch_steps=100",
    "inference.window=[96,96,96]",
)
NETWORKS = {
    "unet": "network={name: unet, channels: [16, 32, 64, 128, 256]}",
    "segresnet": "network={name: segresnet, filters: 16}",
    "swinunetr": "network={name: swinunetr, feature_size: 24}",
}
COURSES = {
    ("unet", "phantom"): ("train.steps=1200", "optimizer.lr=1e-3"),
    ("unet", "real"): ("train.steps=300", "optimizer.lr=5e-4"),
    ("segresnet", "phantom"): ("train.steps=400", "optimizer.lr=1e-3"),
    ("segresnet", "real"): ("train.steps=150", "optimizer.lr=5e-4"),
    ("swinunetr", "phantom"): ("train.steps=300", "optimizer.lr=5e-4"),
    ("swinunetr", "real"): ("train.steps=120", "optimizer.lr=3e-4"),
}


def main() -> None:
    given = _arguments()
    data = {
        "phantom": given.data_phantom or given.runs / "data" / "phantom",
        "real": given.data_real or given.runs / "data" / "real",
    }
    if given.train:
        train(given.runs, data, given.raw_real)
        return
    print(f"{available_cores()} cores, {time.strftime('%Y-%m-%d')}, {given.repeats} repeats; medians")
    results = []
    for network, where in product(given.networks, SCANS):
        run = given.runs / f"{network}_{where}"
        if not (run / "best.safetensors").is_file():
            print(f"{run}: no such run, left out; make it with --train")
            continue
        with tempfile.TemporaryDirectory() as scratch:
            copy = copied(run, Path(scratch) / "run", tta=given.tta)
            out = str(Path(scratch) / "out")
            order = Order(network, str(copy), str(data[where]), SCANS[where], out, given.tta)
            found = compare(order, given.repeats, controlled=given.controls)
            results.append({"network": network, "scan": where, **found})
        print(told(results[-1]), flush=True)
        given.out.write_text(json.dumps(results, indent=1) + "\n")
    print(table(results))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path)
    parser.add_argument("--data-phantom", type=Path, help="prepared; by default RUNS/data/phantom")
    parser.add_argument("--data-real", type=Path, help="prepared; by default RUNS/data/real")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--repeats", type=int, default=3, help="0: only whether both sides agree")
    parser.add_argument("--controls", action="store_true", help="c to e as well")
    parser.add_argument("--tta", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("inference.json"))
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--raw-real", type=Path, default=Path("data/raw"))
    return parser.parse_args()


def train(runs: Path, data: dict[str, Path], raw_real: Path) -> None:
    """Make the datasets and runs that are not there yet."""
    raw = runs / "data" / "raw"
    if not (data["phantom"] / "dataset.json").is_file():
        drawn = ("--cases", 5, "--days", 1, "--full-size", "--seed", 0)
        _volseg("phantom", raw, *drawn)
        _volseg("prepare", raw, "--out", data["phantom"])
    if not (data["real"] / "dataset.json").is_file():
        _volseg("prepare", raw_real, "--out", data["real"])
    base = runs / "data" / "base.yaml"
    base.parent.mkdir(parents=True, exist_ok=True)
    base.write_text("# all settings are told on the command line\n")
    for (network, where), course in COURSES.items():
        run = runs / f"{network}_{where}"
        if (run / "best.safetensors").is_file():
            continue
        first = ("--weights", runs / f"{network}_phantom") if where == "real" else ()
        settings = (NETWORKS[network], *SETTINGS, *course)
        begun = ("--data", data[where], "--fold", "all", "--run", run)
        _volseg("train", base, *begun, *first, *settings)


def _volseg(*words: object) -> None:
    subprocess.run([sys.executable, "-m", "volseg", *map(str, words)], check=True)


def copied(run: Path, copy: Path, *, tta: bool) -> Path:
    """The run without what was converted from it; with flips if wanted."""
    import yaml

    copy.mkdir()
    for name in ("splits.json", "best.safetensors", "postprocess.yaml"):
        if (run / name).is_file():  # runs of earlier versions have their steps in the config
            shutil.copy(run / name, copy / name)
    settings = yaml.safe_load((run / "config.yaml").read_text())
    settings["inference"]["flips"] = ["x", "y"] if tta else []
    (copy / "config.yaml").write_text(yaml.safe_dump(settings))
    return copy


def compare(order: Order, repeats: int, *, controlled: bool) -> dict[str, Any]:
    """Both sides in turn, then their probabilities."""
    first = child("ours", order)
    picked = child("pick", order)
    order = replace(order, batch=picked["batch"])
    rounds: dict[str, list[dict[str, Any]]] = {"ours": [], "whole": [], "plain": [], "peak": []}
    for number in range(repeats):
        sides = ("ours", "plain", "whole")
        for side in sides if number % 2 else sides[::-1]:
            rounds[side].append(child(side, order))
        rounds["peak"].append(child("peak", order))
    if not repeats:
        rounds = {side: [child(side, order)] for side in rounds}
    placed = child("maps", order)
    if controlled:
        child("controls", order)
    found = {
        "batch": order.batch,
        "windows": {"ours": placed["windows"], "plain": rounds["plain"][0]["windows"]},
        "ours": middle(rounds["ours"]),
        "whole": middle(rounds["whole"]),
        "plain": middle(rounds["plain"]),
        "operations_a_window": picked["operations"],
        "bf16_peak": max(one["peak"] for one in rounds["peak"]),
        "box": placed["box"],
        "agreement": agreement(order, controls=controlled),
        "rounds": rounds,
    }
    found["conversion"] = first["startup"] - found["ours"]["startup"]
    found["ratio_whole"] = found["whole"]["seconds"] / found["plain"]["seconds"]
    found["ratio"] = found["ours"]["seconds"] / found["plain"]["seconds"]
    whole = {side: found[side]["startup"] + found[side]["seconds"] for side in ("ours", "plain")}
    found["ratio_with_startup"] = whole["ours"] / whole["plain"]
    found["share_of_peak"] = dict(_shares(found))
    return found


def middle(rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The median of each figure of a side's rounds; of the seconds by step, too."""
    names = rounds[0]["steps"]
    told: dict[str, Any] = {
        key: median(one[key] for one in rounds) for key in ("startup", "seconds", "memory")
    }
    return told | {"steps": {n: median(one["steps"].get(n, 0) for one in rounds) for n in names}}


def _shares(found: dict[str, Any]) -> Iterator[tuple[str, float]]:
    for side in ("ours", "plain"):
        operations = found["operations_a_window"] * found["windows"][side]
        for what, seconds in (
            ("network", found[side]["steps"]["network"]),
            ("whole", found[side]["seconds"]),
        ):
            yield f"{side}, {what}", operations / seconds / found["bf16_peak"]


def child(what: str, order: Order) -> dict[str, Any]:
    """What a child process told in its last line."""
    shutil.rmtree(Path(order.out) / what, ignore_errors=True)  # else masks are not made again
    os.sync()  # what the one before has written is not written during this one
    told = json.dumps(asdict(replace(order, begun=time.time())))
    done = subprocess.run(
        [sys.executable, __file__, f"--{what}", told], capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{what} ended with {done.returncode}:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def told(result: dict[str, Any]) -> str:
    """All of one network on one scan."""
    lines = [f"\n{result['network']}, {result['scan']} (body box {result['box']}):"]
    for side in ("ours", "whole", "plain"):
        steps = ", ".join(f"{name} {s:.2f}" for name, s in result[side]["steps"].items())
        share = result[side]["steps"]["network"] / result[side]["seconds"]
        lines.append(f"  {side}: {steps}; network {share:.0%}")
    lines.append(
        f"  ratio with start-up {result['ratio_with_startup']:.3f}; "
        f"one-off conversion and compilation: {result['conversion']:.1f} s"
    )
    lines.append(
        f"  {result['operations_a_window'] / 1e9:.0f} GFLOP a window, bf16 matmul "
        f"{result['bf16_peak'] / 1e9:.0f} GFLOP/s, plain batch {result['batch']}"
    )
    lines += [f"  share of peak, {on}: {share:.0%}" for on, share in result["share_of_peak"].items()]
    for pair, values in result["agreement"].items():
        figures = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        lines.append(f"  {pair}: {figures}")
    return "\n".join(lines)


def table(results: Sequence[dict[str, Any]]) -> str:
    """A line a network and scan; MB at the peak, `a` and `b` as above."""
    head = (
        f"\n{'':20}{'ours s':>8}{'plain s':>9}{'ratio':>7}{'start-up s':>14}{'peak MB':>14}"
        f"{'windows':>12}{'Dice a':>9}{'mean a':>9}"
        f"{'whole s':>10}{'ratio':>7}{'Dice b':>9}{'max b':>8}{'mean b':>9}"
    )
    return "\n".join([head, *map(_line, results)])


def _line(result: dict[str, Any]) -> str:
    sides, windows = (result["ours"], result["plain"]), result["windows"]
    startup = " / ".join(f"{side['startup']:.1f}" for side in sides)
    memory = " / ".join(f"{side['memory'] / 1e6:.0f}" for side in sides)
    a, b, *_ = result["agreement"].values()
    return (
        f"{result['network'] + ', ' + result['scan']:20}{sides[0]['seconds']:8.2f}"
        f"{sides[1]['seconds']:9.2f}{result['ratio']:7.3f}{startup:>14}{memory:>14}"
        f"{windows['ours']:>6} / {windows['plain']:<3}{a['Dice']:9.4f}{a['mean']:9.5f}"
        f"{result['whole']['seconds']:10.2f}{result['ratio_whole']:7.3f}"
        f"{b['Dice']:9.4f}{b['max']:8.4f}{b['mean']:9.6f}"
    )


CHILDREN = {f"--{one.__name__}": one for one in (ours, whole, plain, pick, peak, maps, controls)}

if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in CHILDREN:
        print(json.dumps(CHILDREN[sys.argv[1]](Order(**json.loads(sys.argv[2])))))
    else:
        main()
