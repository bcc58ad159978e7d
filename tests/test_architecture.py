import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted((ROOT / "volseg").rglob("*.py"))
FLOORS = [
    "errors formatting arrays console plugins",
    "schema arguments",
    "system metrics postprocessing",
    "cohort data model",
    "config preparation visualization",
    "runs stats components",
    "inference",
    "evaluation calibration export dicom",
    "training tuning",
    "planning report viewer",
    "demo api auto",
    "cli",
    "__main__",
]
"""From the ground up: a package imports only floors below its own, and itself."""
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names.split()}


def imports(path: Path) -> list[str]:
    """The modules of volseg that a file imports, inside functions and under TYPE_CHECKING too."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("volseg"):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found += [name if name in NAMES else node.module for name in sorted(names)]
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.startswith("volseg")]
    return found


def dotted(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {dotted(path): path for path in MODULES}
OUTSIDE = {"volseg", "volseg.configs"}
"""The version, and the YAML files: no code."""


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_package_imports_only_lower_floors(path: Path) -> None:
    here = dotted(path).split(".")[1:2]
    rooms = {name.split(".")[1] for name in imports(path) if name not in OUTSIDE} - {*here}

    assert not {room for room in rooms if FLOOR[room] >= (FLOOR[here[0]] if here else 0)}


def test_no_modules_import_each_other_in_a_loop() -> None:
    left = {name: {*imports(path)} & {*NAMES} - {name} for name, path in NAMES.items()}
    while ready := {name for name, needed in left.items() if not needed & {*left}}:
        left = {name: needed for name, needed in left.items() if name not in ready}

    assert not {name: sorted(needed & {*left}) for name, needed in left.items()}


def test_every_package_is_installed() -> None:
    told = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {dotted(path) for path in MODULES if path.name == "__init__.py"}

    assert {*told} == folders | {"volseg.configs"}


def test_every_template_is_installed() -> None:
    told = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    installed = {path for name, globs in told.items() for one in globs for path in _folder(name).glob(one)}
    files = {path for kind in ("css", "js", "j2") for path in (ROOT / "volseg").rglob(f"*.{kind}")}

    assert files
    assert files <= installed


def _folder(package: str) -> Path:
    return ROOT.joinpath(*package.split("."))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_and_bodies_stay_short(path: Path) -> None:
    text = path.read_text()
    bodies = {
        node.name: node.end_lineno - node.body[0].lineno + 1
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef)
    }

    assert text.count("\n") <= 300
    assert not {name: lines for name, lines in bodies.items() if lines > 50}


def test_nine_in_ten_bodies_are_under_25_lines() -> None:
    lengths = [
        node.end_lineno - node.body[0].lineno + 1
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
    ]

    assert sum(length < 25 for length in lengths) >= 0.9 * len(lengths)


@pytest.mark.parametrize(
    ("code", "heavy"),
    [
        (
            "import volseg.cli; volseg.cli.run_command(['--help'])",
            {"numpy", "torch", "monai", "nibabel", "pandas", "jinja2", "pydantic", "yaml", "rich.markdown"},
        ),
        (
            "import volseg.metrics, volseg.postprocessing, volseg.data.layouts.gi_tract.rle",
            {"torch", "monai"},
        ),
        ("import volseg.preparation.prepare", {"torch", "monai"}),
        ("import volseg.components", {"torch", "monai"}),
        ("import volseg.training.launcher", {"monai"}),
        ("import volseg.stats.stats", {"torch", "monai", "pandas", "matplotlib", "cv2", "jinja2"}),
    ],
)
def test_nothing_heavy_is_loaded_before_it_is_needed(code: str, heavy: set[str]) -> None:
    check = f"import sys; {code}; print(' '.join(sys.modules))"
    told = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)

    assert not heavy & set(told.stdout.split())


HELP = ("-m", "volseg", "--help")
LEAST_HELP = (
    "-c",
    """
import cyclopts
app = cyclopts.App(name="least", help_format="plaintext")
for number in range(18):
    def command(path: str) -> None:
        "Does nothing."
    app.command(command, name=f"command-{number}")
app(["--help"])
""",
)
"""A page of as many commands as ours, none of which does anything."""


def processor_seconds(arguments: tuple[str, ...]) -> float:
    """The processor time of an interpreter from its start to its end."""
    resource = pytest.importorskip("resource", reason="the processor time of POSIX")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_help_answers_at_once() -> None:
    """It takes what its library takes for as many commands that do nothing, and less than as much again.

    It takes 1.2 to 1.6 times as much; with numpy on its way 2.2. By turns, and the least of each: what else
    the machine does, and how fast it is, make both slower.
    """
    times = [(processor_seconds(HELP), processor_seconds(LEAST_HELP)) for _ in range(5)]
    ours, least = (min(column) for column in zip(*times, strict=True))

    assert ours < 2 * least
