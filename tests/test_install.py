"""How volseg is installed: extras that resolve, and a clone that can be imported from beside it."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINS = dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "constraints.txt").read_text(), re.M))


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("extra", PROJECT["optional-dependencies"])
def test_what_an_extra_asks_for_is_what_is_pinned(extra: str) -> None:
    pins = {plain(name): version for name, version in PINS.items()}
    asked = [Requirement(line) for line in PROJECT["optional-dependencies"][extra]]
    others = [one for one in asked if plain(one.name) != "volseg"]

    unmet = [
        str(one)
        for one in others
        if plain(one.name) not in pins or not one.specifier.contains(pins[plain(one.name)])
    ]
    assert not unmet
    within = {other for one in asked if plain(one.name) == "volseg" for other in one.extras}
    assert within <= {*PROJECT["optional-dependencies"]}


@pytest.mark.slow
def test_a_clone_is_imported_from_its_parent_folder_too(tmp_path: Path) -> None:
    """There a folder named volseg, the clone, has no package in itself, and would hide the installed one."""
    clone, site = tmp_path / "volseg", tmp_path / "site"
    site.mkdir()
    for folder in ("volseg", "configs"):
        shutil.copytree(ROOT / folder, clone / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(ROOT / file, clone / file)
    build = f"import setuptools.build_meta as b; b.build_editable({str(site)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=clone, check=True, capture_output=True)
    with zipfile.ZipFile(next(site.glob("*.whl"))) as wheel:
        wheel.extractall(site)

    use = f"import site; site.addsitedir({str(site)!r}); import volseg; from volseg.config import config; "
    told = "print(volseg.__file__); print(*config.shipped_configs())"
    others = {**os.environ, "PYTHONPATH": sysconfig.get_path("purelib")}  # without the volseg of these tests
    done = subprocess.run(
        [sys.executable, "-S", "-c", use + told], cwd=tmp_path, env=others, capture_output=True, text=True,
        check=True,
    )  # fmt: skip

    file, configs = done.stdout.splitlines()
    assert file == str(clone / "volseg" / "__init__.py")
    assert configs.split() == sorted(path.name for path in (ROOT / "configs").glob("*.yaml"))
