"""Whether this checkout does what an older one does: the demo's files, and reading what the older one wrote.

    python benchmarks/same_as_before.py OLD_CHECKOUT [OLD_DEMO]

OLD_CHECKOUT is a folder with the older version's tree, OLD_DEMO the demo that it wrote (made if missing).
Both versions run in this Python, one after the other, with the same number of threads. Times, versions,
hashes of what was read (`key`) and the folders' names are left out of the comparison; everything else is
compared byte for byte, the PNG and the masks too.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
CHANGING = {"seconds", "version", "key", "made_from", "written", "date"}
"""Keys of JSON files that differ between two runs of one version too."""
LEFT_OUT = (r"log\.txt$", r"tensorboard/", r"openvino/", r"report\.html$", r"last\.pt$", r"\.lock$")
"""Logs and times; files of an engine, which hold no results; the page, whose text a test compares."""
SCAN = "case123_day20"


def volseg(checkout: Path, *words: str | Path) -> str:
    """Run a command of a checkout; what it printed on stdout."""
    done = subprocess.run(
        [sys.executable, "-m", "volseg", *map(str, words)],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(checkout)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(
            f"volseg {' '.join(map(str, words))} in {checkout} ended with {done.returncode}:\n{done.stderr}"
        )
    return done.stdout


def plain(value: object, roots: tuple[str, ...]) -> object:
    """A JSON value without times, versions and the folders that it lies in."""
    if isinstance(value, dict):
        return {key: plain(inner, roots) for key, inner in value.items() if key not in CHANGING}
    if isinstance(value, list):
        return [plain(inner, roots) for inner in value]
    for root in roots:
        value = value.replace(root, "") if isinstance(value, str) else value
    return value


def contents(path: Path, roots: tuple[str, ...]) -> object:
    """What is compared of a file."""
    if path.suffix == ".json":
        return plain(json.loads(path.read_text()), roots)
    if path.name == "metrics.csv":  # seconds, steps a second and waiting are times
        header, *rows = (line.split(",") for line in path.read_text().splitlines())
        times = {header.index(name) for name in ("seconds", "steps_per_second", "waiting") if name in header}
        return [[cell for column, cell in enumerate(row) if column not in times] for row in (header, *rows)]
    if path.name in ("config.yaml", "dataset.yaml"):
        return re.sub(r"^version: .*$", "", path.read_text(), flags=re.MULTILINE)
    return path.read_bytes()


def differences(old: Path, new: Path) -> Iterator[tuple[str, str]]:
    """Each file below two folders, and whether it is the same in both."""
    roots = (str(old.parent), str(new.parent))
    names = sorted({str(p.relative_to(root)) for root in (old, new) for p in root.rglob("*") if p.is_file()})
    for name in names:
        if any(re.search(pattern, name) for pattern in LEFT_OUT):
            continue
        there = (old / name).is_file(), (new / name).is_file()
        if not all(there):
            yield name, "only in the older" if there[0] else "only in the newer"
        else:
            same = contents(old / name, roots) == contents(new / name, roots)
            yield name, "same" if same else "DIFFERENT"


def tell(title: str, old: Path, new: Path) -> bool:
    """Print how many files of each kind are the same, and name the others."""
    found = list(differences(old, new))
    kinds = Counter(Path(name).name if "/" in name else name for name, what in found if what == "same")
    print(f"\n{title}: {sum(kinds.values())} of {len(found)} files are the same")
    for kind, count in sorted(kinds.items(), key=lambda pair: (-pair[1], pair[0]))[:12]:
        print(f"  {count:4d} x {kind}")
    for name, what in found:
        if what != "same":
            print(f"  {what}: {name}")
    return all(what == "same" for _, what in found)


def read_by_the_newer(demo: Path, folder: Path) -> bool:
    """Whether this version reads the older one's data, run, package and predictions as they are."""
    copy = folder / "older"
    shutil.copytree(demo, copy)
    run, data, old = copy / "runs" / "demo", copy / "prepared", copy / "predictions"
    print("\nprepare, once more:", volseg(HERE, "prepare", copy / "raw", "--out", data).strip())
    fine = tell("prepared data after it", demo / "prepared", data)
    scores = copy / "scores"
    volseg(HERE, "evaluate", old, "--data", data, "--out", scores)
    fine &= tell("scores of the older predictions", demo / "scores", scores)
    for name, source in (("run", run), ("package", demo.parent / "package")):
        if source.is_dir():
            out = folder / f"by-{name}"
            volseg(HERE, "infer", "--case", SCAN, "--run", source, "--data", data, "--out", out)
            masks = [p.name for p in (out / SCAN).iterdir() if p.suffix in {".gz", ".csv"}]
            same = [(out / SCAN / m).read_bytes() == (old / SCAN / m).read_bytes() for m in masks]
            print(f"infer by the older {name}: {sum(same)} of {len(masks)} masks and codes are the same")
            fine &= all(same)
    return fine


def main() -> None:
    """Compare, print, and exit with 1 where anything differs."""
    checkout = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory(prefix="volseg-") as temporary:
        folder = Path(temporary)
        demo = Path(sys.argv[2]).resolve() if len(sys.argv) > 2 else folder / "old" / "demo"
        if not demo.is_dir():
            volseg(checkout, "demo", "--out", demo)
            volseg(checkout, "export", demo / "runs" / "demo", "--out", demo.parent / "package")
        new = folder / "new" / "demo"
        volseg(HERE, "demo", "--out", new)
        fine = tell("the demo's files", demo, new)
        listed = volseg(checkout, "options") == volseg(HERE, "options")
        print(f"\nvolseg options prints {'the same' if listed else 'SOMETHING ELSE'}")
        fine &= read_by_the_newer(demo, folder)
    print("\nthe same" if fine and listed else "\nNOT the same")
    sys.exit(0 if fine and listed else 1)


if __name__ == "__main__":
    main()
