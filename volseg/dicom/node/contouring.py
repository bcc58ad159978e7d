"""Contours of a job, by `volseg infer` in a process of its own with limits of time and memory."""

import logging
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from volseg.dicom.node import child_launcher
from volseg.dicom.node.job_queue import IMAGES, RESULTS
from volseg.dicom.node.settings import GIGABYTE, Contouring, ContourOptions, Rule
from volseg.dicom.node.spool import sync_folder
from volseg.inference.prediction_folder import read_records
from volseg.system.files import sync_file

INFER = (sys.executable, "-m", "volseg", "infer")
LOG, MASKS = "log.txt", "masks"
MOST_LINES, LONGEST_LINE, LONGEST_REASON = 12, 300, 1200
REFUSALS = ("volseg: ", "failed: ")
"""How the lines begin by which the commands of volseg say what is wrong; more may follow."""
MISTAKES = (1, 2, 3)
"""Exit codes of `volseg infer` that say the same whenever it is tried."""
ENDS_IN_SECONDS = 10.0
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """How contouring ended: done, refused (for good), killed (may do better next time) or stopped by us.

    `unlike` says in sentences in what the images are unlike those of training, where they are.
    """

    kind: Literal["done", "refused", "killed", "stopped"]
    reason: str = ""
    unlike: tuple[str, ...] = ()


@dataclass(frozen=True)
class Contourer:
    """Contours jobs by a command that takes the options of `volseg infer`."""

    limits: Contouring
    command: Sequence[str] = INFER

    def contour(self, folder: Path, rule: Rule, is_stopped: Callable[[], bool]) -> Outcome:
        """Contour the images of a job's folder; done, RTSTRUCT and SEG lie in its `results`.

        `is_stopped` is asked all the while; once it is true, the process is ended.
        """
        for old in (*folder.glob("try-*"), folder / RESULTS):
            shutil.rmtree(old, ignore_errors=True)
        trial = folder / f"try-{secrets.token_hex(4)}"
        trial.mkdir(mode=0o700)
        outcome = self._run(self._arguments(folder, trial, rule), folder / LOG, is_stopped)
        if outcome.kind == "done":
            outcome = replace(_take_results(trial / RESULTS, folder / RESULTS), unlike=_unlike(trial / MASKS))
        shutil.rmtree(trial, ignore_errors=True)
        return outcome

    def _arguments(self, folder: Path, trial: Path, rule: Rule) -> list[str]:
        limit = int((self.limits.max_memory_gb or 0) * GIGABYTE)
        launcher = (sys.executable, "-I", child_launcher.__file__, str(limit), str(os.getpid()))
        places = ("--input", folder / IMAGES, "--out", trial / MASKS, "--dicom-out", trial / RESULTS)
        return [*launcher, *self.command, *map(str, places), "--run", *rule.runs, *_infer_options(rule)]

    def _run(self, arguments: list[str], log_file: Path, is_stopped: Callable[[], bool]) -> Outcome:
        deadline = time.monotonic() + self.limits.max_minutes * 60
        quiet = {**os.environ, "PYTHONWARNINGS": "ignore", "PYTHONUNBUFFERED": "1"}
        with log_file.open("ab") as output:
            start = output.tell()
            process = subprocess.Popen(
                arguments, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=quiet,
                start_new_session=True,
            )  # fmt: skip
            try:
                while (code := _poll(process)) is None:
                    if is_stopped():
                        return Outcome("stopped")
                    if time.monotonic() > deadline:
                        return Outcome(
                            "killed", f"ended after {self.limits.max_minutes:g} minutes, the limit"
                        )
            finally:
                _end_process(process)
        return _outcome_of(code, _read_reason(log_file, start))


def _poll(process: "subprocess.Popen[bytes]") -> int | None:
    try:
        return process.wait(0.2)
    except subprocess.TimeoutExpired:
        return None


def _end_process(process: "subprocess.Popen[bytes]") -> None:
    """End a process and all that it has started: politely first."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(ENDS_IN_SECONDS)
        except subprocess.TimeoutExpired:
            log.warning("contouring did not end when it was asked to, so it is killed")
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()


def _outcome_of(code: int, reason: str) -> Outcome:
    if code == 0:
        return Outcome("done")
    if code in MISTAKES:
        return Outcome("refused", reason or f"exit code {code}")
    ended = f"killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    return Outcome("killed", ended)


def _read_reason(log_file: Path, start: int) -> str:
    """What a process has said is wrong, in one line: the first lines of a refusal, else its last line."""
    lines: list[str] = []
    with log_file.open("rb") as file:
        file.seek(start)
        while len(lines) < MOST_LINES and (read := file.readline(4096)):
            line = read.decode("utf-8", "replace").strip()[:LONGEST_LINE]
            if lines and lines[0].startswith(REFUSALS):
                lines += [line] if line else []
            elif line:
                lines = [line]
    return _OPTION.sub(_name_setting, "; ".join(lines).replace(":; ", ": "))[:LONGEST_REASON]


_OPTION = re.compile(r"--([a-z][a-z-]*)")


def _name_setting(option: re.Match[str]) -> str:
    """The setting of a rule that is an option of `volseg infer`; another option as it is."""
    name = option[1].replace("-", "_")
    return f"rules.options.{name}" if name in ContourOptions.model_fields else option[0]


def _infer_options(rule: Rule) -> list[str]:
    """The options of `volseg infer` that a rule sets."""
    words: list[str] = []
    for key, value in rule.options.model_dump(exclude_defaults=True).items():
        name = f"--{key.replace('_', '-')}"
        words += [name] if value is True else [name, str(value)]
    return words


def _unlike(masks: Path) -> tuple[str, ...]:
    """In what the images that were predicted are unlike those of training."""
    return tuple(dict.fromkeys(line for record in read_records(masks) for line in record.outside))


def _take_results(made: Path, results: Path) -> Outcome:
    """Keep the objects that were made, on the disk for good."""
    files = sorted(made.rglob("*.dcm"))
    if not files:
        return Outcome("refused", "nothing to send: no organ was found")
    results.mkdir(mode=0o700)
    for number, file in enumerate(files, 1):
        sync_file(file)
        file.replace(results / f"{number}.dcm")
    sync_folder(results)
    sync_folder(results.parent)
    return Outcome("done")
