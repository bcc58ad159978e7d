#!/usr/bin/env python3
"""Fill a folder with the wheels of volseg and of all that it needs and the platform lacks.

    python tools/kaggle/make_wheels.py wheels --python 3.12

The platform is Linux on x86_64 with torch and numpy, as in Kaggle's notebooks: these, and what they need
themselves, are left out, and so is OpenVINO, which a GPU has no use for. Versions are constraints.txt's.
Run it by the Python of a development environment, which knows what each package needs. It takes a network;
`pip install --no-index --find-links wheels volseg` then takes none.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "volseg", "configs")
PLATFORM = ("torch", "numpy")
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
TAGS = [f"manylinux_2_{minor}_x86_64" for minor in range(28, 16, -1)] + ["manylinux2014_x86_64"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    given = _parser().parse_args(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    for old in given.out.glob("*.whl"):
        old.unlink()
    pinned = pinned_requirements(wanted_names(given.python))
    _run_pip("wheel", "--no-deps", "--wheel-dir", str(given.out), source=ROOT)
    foreign = [f"--platform={tag}" for tag in TAGS] + [f"--python-version={given.python}"]
    _run_pip("download", "--no-deps", "--only-binary=:all:", "--dest", str(given.out), *foreign, *pinned)
    wheels = list(given.out.glob("*.whl"))
    size = sum(path.stat().st_size for path in wheels) / 1e6
    print(f"{given.out}: {len(wheels)} wheels for Python {given.python}, {size:.0f} MB")
    return 0


def _parser() -> argparse.ArgumentParser:
    summary, _, details = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        prog="make_wheels.py",
        description=summary,
        epilog=details,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "out", metavar="OUT", type=Path, help="folder of the wheels; those in it are replaced"
    )
    parser.add_argument(
        "--python",
        metavar="VERSION",
        default=HERE,
        help="the platform's version of Python (default: %(default)s)",
    )
    return parser


def wanted_names(python: str) -> list[str]:
    """What volseg needs, and what that needs, without what the platform has."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    there = with_their_needs(PLATFORM, python)
    return sorted(with_their_needs(_names(project["dependencies"], python), python) - there)


def with_their_needs(names: Iterable[str], python: str) -> set[str]:
    """These packages and all that they need, by what is installed here."""
    found: set[str] = set()
    waiting = [*names]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += _names(_requirements_of(name), python)
    return found


def _requirements_of(name: str) -> list[str]:
    try:
        return requires(name) or []
    except PackageNotFoundError:
        return []  # only for the platform's Python; constraints.txt has its version


def _names(texts: Iterable[str], python: str) -> list[str]:
    """The packages that these requirements name, as far as they are of the platform and no extra."""
    platform = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": "x86_64",
        "extra": "",
    }
    asked = [Requirement(text) for text in texts]
    return [canonicalize_name(one.name) for one in asked if not one.marker or one.marker.evaluate(platform)]


def pinned_requirements(names: Iterable[str]) -> list[str]:
    """Each package with its version of constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").split()
    versions = {
        canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)
    }
    lacking = [name for name in names if name not in versions]
    if lacking:
        sys.exit(f"constraints.txt: no version of {', '.join(lacking)}; add what was tested")
    return [f"{name}=={versions[name]}" for name in names]


def _run_pip(command: str, *options: str, source: Path | None = None) -> None:
    """Run pip, on a copy of the sources if they are named: what an earlier build left is no part of it."""
    with tempfile.TemporaryDirectory() as folder:
        if source:
            for name in SOURCES:
                copy = shutil.copytree if (source / name).is_dir() else shutil.copyfile
                copy(source / name, Path(folder) / name)
        target = [folder] if source else []
        subprocess.run([sys.executable, "-m", "pip", command, "--quiet", *options, *target], check=True)


if __name__ == "__main__":
    sys.exit(main())
