import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted((ROOT / "volseg").rglob("*.py"))
FLOORS = [
    "errors",
    "schema atomic kept machine console parallel signals arguments",
    "masks",
    "data",
    "model",
    "config",
    "runs run_of_folds run_config run_postprocess converted packages",
    "stages",
    "cli",
]
"""From the ground up: a module may import its own floor and those below."""


def floor(module: str) -> int:
    room = module.split(".")[1] if "." in module else "errors"
    room = "cli" if room == "__main__" else room
    return next((i for i, names in enumerate(FLOORS) if room in names.split()), 0)


def imports(path: Path) -> list[str]:
    tree = ast.parse(path.read_text())
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("volseg"):
            found += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.startswith("volseg")]
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    relative = path.relative_to(ROOT)
    here = floor(".".join(relative.with_suffix("").parts))
    upwards = [name for name in imports(path) if floor(name) > here]

    assert not upwards


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
        ("import volseg.cli", {"numpy", "torch", "monai", "nibabel", "pandas"}),
        (
            "import volseg.metrics, volseg.postprocessing, volseg.data.layouts.gi_tract.rle",
            {"torch", "monai"},
        ),
        ("import volseg.preparation.prepare", {"torch", "monai"}),
        ("import volseg.components", {"torch", "monai"}),
        ("import volseg.stats.stats", {"torch", "monai", "pandas", "matplotlib", "cv2"}),
    ],
)
def test_nothing_heavy_is_loaded_before_it_is_needed(code: str, heavy: set[str]) -> None:
    check = f"import sys; {code}; print(' '.join(sys.modules))"
    told = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)

    assert not heavy & set(told.stdout.split())


def test_help_answers_at_once() -> None:
    """Under 0.3 s of processor time; wall-clock time would measure what else the machine does."""
    code = (
        "import resource, subprocess, sys;"
        "subprocess.run([sys.executable, '-m', 'volseg', '--help'], stdout=subprocess.DEVNULL, check=True);"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN); print(used.ru_utime + used.ru_stime)"
    )
    times = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
        for _ in range(3)
    ]

    assert min(times) < 0.3
