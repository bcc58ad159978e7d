#!/usr/bin/env python3
"""Break the numeric core in one line at a time, and count how many breaks the tests notice.

    python tools/mutants.py [--only WORD] [--jobs N]

mutants.toml beside this script lists the mutants: a file, a text that occurs in it once, what stands there
instead, and the test modules that ought to notice (by default the file's own). Each mutant is made in a copy
of the working tree, and its tests are run there; those marked slow only where the mutant says so. First the
same tests must pass without any mutant. Exit codes: 0 at least nine in ten are noticed, 1 fewer, 2 the list
or the tests are wrong.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue

ROOT = Path(__file__).resolve().parents[1]
LIST = Path(__file__).with_suffix(".toml")
TARGET = 0.9
LIMIT_S = 900  # for the tests of one mutant; one that makes them hang is noticed
PASSED, FAILED = 0, 1  # exit codes of pytest


@dataclass(frozen=True)
class Mutant:
    """A one-line change of a file, and the tests that ought to notice; `law` says what it breaks."""

    law: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...] = ()
    slow: bool = False

    @property
    def modules(self) -> tuple[str, ...]:
        """The test modules (or tests in them) to run: those named, or the module that mirrors the file."""
        path = Path(self.file)
        own = Path("tests", *path.parts[1:-1], f"test_{path.name}")
        return self.tests or (own.as_posix(),)

    def problems(self, root: Path) -> Iterator[str]:
        """A line for each thing that is wrong with the mutant in a tree of files."""
        text = (root / self.file).read_text(encoding="utf-8") if (root / self.file).is_file() else ""
        count = text.count(self.old)
        if count != 1:
            yield f"{self.law}: {self.old!r} is {count} times in {self.file}; expected once"
        elif self.old == self.new:
            yield f"{self.law}: {self.file} is not changed"
        for module in self.modules:
            if not (root / module.partition("::")[0]).is_file():
                yield f"{self.law}: no test module {module}; name those that ought to notice"

    def write(self, root: Path) -> str:
        """Change the file; returns its text before."""
        path = root / self.file
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace(self.old, self.new), encoding="utf-8")
        return text


def read_mutants(path: Path = LIST) -> list[Mutant]:
    """The mutants of a list."""
    values = tomllib.loads(path.read_text(encoding="utf-8"))["mutant"]
    return [Mutant(**{**value, "tests": tuple(value.get("tests", ()))}) for value in values]


def copy_tree(folder: Path) -> Path:
    """A copy of all files that git knows or would add, as they are now."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def run_tests(tree: Path, modules: Sequence[str], *, slow: bool = False) -> tuple[int, str]:
    """The exit code and output of pytest on some modules of a tree; as of a failed test where they hang."""
    data = os.environ.get("VOLSEG_TEST_DATA", str(ROOT.parent / "shared" / "data"))
    settings = {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1", "VOLSEG_TEST_DATA": data}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *modules]
    command += ["-m", ""] if slow else []
    process = partial(subprocess.run, cwd=tree, env={**os.environ, **settings}, check=False)
    try:
        done = process(command, capture_output=True, text=True, timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        return FAILED, f"no end after {LIMIT_S} s"
    return done.returncode, done.stdout


def try_mutant(mutant: Mutant, trees: SimpleQueue[Path]) -> tuple[Mutant, int, float]:
    """A mutant, the exit code of its tests with it, and their seconds."""
    tree, begun = trees.get(), time.monotonic()
    text = mutant.write(tree)
    try:
        code, _ = run_tests(tree, mutant.modules, slow=mutant.slow)
        return mutant, code, time.monotonic() - begun
    finally:
        (tree / mutant.file).write_text(text, encoding="utf-8")
        trees.put(tree)


def failing_tests(mutants: Sequence[Mutant], trees: SimpleQueue[Path], pool: Executor) -> str:
    """What pytest says of tests of the mutants that fail without any of them; '' if none does."""

    def run(one: tuple[str, bool]) -> str:
        module, slow = one
        tree = trees.get()
        code, output = run_tests(tree, [module], slow=slow)
        trees.put(tree)
        return "" if code == PASSED else f"{output}{module}: fails without any mutant; mend it first"

    wanted = sorted({(module, mutant.slow) for mutant in mutants for module in mutant.modules})
    return "\n".join(filter(None, pool.map(run, wanted)))


def try_mutants(mutants: Sequence[Mutant], jobs: int) -> int:
    """Try all mutants, print the outcome of each and the score, and return the exit code."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder, ThreadPoolExecutor(jobs) as pool:
        trees: SimpleQueue[Path] = SimpleQueue()
        for number in range(jobs):
            trees.put(copy_tree(Path(folder, str(number))))
        if failing := failing_tests(mutants, trees, pool):
            print(failing, file=sys.stderr)
            return 2
        noticed, broken = 0, 0
        for mutant, code, seconds in pool.map(lambda one: try_mutant(one, trees), mutants):
            noticed += code == FAILED
            broken += code not in (PASSED, FAILED)
            word = {PASSED: "SURVIVED", FAILED: "noticed"}.get(code, f"pytest ended with {code}")
            print(f"{word:<9} {seconds:4.0f} s  {mutant.file}: {mutant.law}", flush=True)
    print(f"{noticed} of {len(mutants)} mutants are noticed ({noticed / len(mutants):.0%})")
    return 2 if broken else int(noticed < TARGET * len(mutants))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    summary, _, details = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=details, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", metavar="WORD", help="mutants with this word in file or law")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="mutants at a time (default 1)")
    given = parser.parse_args(arguments)
    mutants = [one for one in read_mutants() if given.only in f"{one.file} {one.law}"]
    problems = [problem for mutant in mutants for problem in mutant.problems(ROOT)]
    if problems or not mutants:
        print("\n".join(problems) or f"no mutant with {given.only!r}", file=sys.stderr)
        return 2
    return try_mutants(mutants, given.jobs)


if __name__ == "__main__":
    sys.exit(main())
