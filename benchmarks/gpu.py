"""What a GPU run does, in at most nine minutes: speed, waiting, memory, precision, equality and messages.

    .venv/bin/python benchmarks/gpu.py                          # on cuda; writes gpu.json and prints a table
    .venv/bin/python benchmarks/gpu.py --tiny --device cpu      # the same parts in a minute on any machine

Each part (benchmarks/gpu_parts.py) runs in a process of its own for so many seconds at most. One that fails
is told with its reason and what it had found, and leaves the others alone; then the exit code is 1. What
needs a GPU is skipped without one.
"""

import argparse
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import gpu_parts
from gpu_parts import Row, Setting, SkippedError

from volseg.model.networks import Network
from volseg.schema import union_members

SLOWER = 10
"""Times the seconds of a part for a tiny run, on a CPU that may do other things too."""
Part = Callable[[Setting], Iterator[Row]]


def all_parts() -> dict[str, tuple[float, Part]]:
    """Each part and the seconds that it may take, 525 together."""
    configs, networks = gpu_parts.full_size_configs(), [*union_members(Network)]
    return {
        "machine": (15, gpu_parts.machine),
        "data": (60, gpu_parts.draw_data),
        **{
            f"config {name}": (140 / len(configs), partial(gpu_parts.train_config, name=name))
            for name in configs
        },
        **{
            f"steps {name}": (150 / len(networks), partial(gpu_parts.time_steps, name=name))
            for name in networks
        },
        "precision": (40, gpu_parts.resume_in_other_precision),
        "patches": (20, gpu_parts.compare_patches),
        "inference": (50, gpu_parts.compare_inference),
        "messages": (50, gpu_parts.provoke_messages),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1 or cpu")
    parser.add_argument("--tiny", action="store_true", help="small scans and networks, few steps")
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    parser.add_argument("--parts", nargs="+", help="by default all; some need those before them")
    given = parser.parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="volseg-gpu-") as folder:
        setting = Setting(Path(folder), given.device, tiny=given.tiny)
        parts = all_parts()
        for name in given.parts or parts:
            seconds, part = parts[name]
            found[name] = run_apart(part, setting, seconds=SLOWER * seconds if given.tiny else seconds)
            given.out.write_text(json.dumps(found, indent=1) + "\n")  # what is known if all is ended here
            print("\n".join(lines(name, found[name])), flush=True)
    return int(any(one["status"] == "failed" for one in found.values()))


def run_apart(part: Part, setting: Setting, *, seconds: float) -> dict[str, Any]:
    """What a part finds, in a process of its own: `status`, `reason`, `seconds`, and the rows as `found`."""
    file, began = setting.folder / "told.jsonl", time.monotonic()
    file.write_text("")
    child = multiprocessing.get_context("fork").Process(target=_work, args=(part, setting, file))
    child.start()
    child.join(seconds)
    reason = f"its process ended with code {child.exitcode}"
    if child.is_alive():
        os.killpg(child.pid, signal.SIGKILL)  # with the commands that it has started
        child.join()
        reason = f"not done within {seconds:.0f} s"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    end = rows.pop() if rows and "status" in rows[-1] else {"status": "failed", "reason": reason}
    return {**end, "seconds": round(time.monotonic() - began, 1), "found": rows}


def _work(part: Part, setting: Setting, file: Path) -> None:
    """Write each row of a part as it comes, and how it ends."""
    os.setpgid(0, 0)
    with file.open("a") as told:
        end = {"status": "done"}
        try:
            for row in part(setting):
                print(json.dumps(row), file=told, flush=True)
        except SkippedError as error:
            end = {"status": "skipped", "reason": str(error)}
        except Exception as error:  # it is told, and the others go on
            traceback.print_exc()
            text = "; ".join(line.strip() for line in str(error).splitlines()[:3])
            end = {"status": "failed", "reason": f"{type(error).__name__}: {text}"}
        print(json.dumps(end), file=told)


def lines(name: str, told: Mapping[str, Any]) -> Iterator[str]:
    """A part's table: how it ended, and a line for each row that it found."""
    yield f"{name}: {told['status']} after {told['seconds']} s {told.get('reason', '')}".rstrip()
    for row in told["found"]:
        yield "    " + ", ".join(f"{key} {value}" for key, value in row.items())


if __name__ == "__main__":
    sys.exit(main())
