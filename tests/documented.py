"""What the documentation says to type, and the names and paths that it uses."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
PHANTOM = ROOT / "docs/tutorials/phantom.md"
MADE = ("_build", "commands")
"""Folders below docs/ that are made when the site is built."""
PAGES = [
    README,
    ROOT / "CONTRIBUTING.md",
    ROOT / "benchmarks/README.md",
    *(page for page in sorted((ROOT / "docs").rglob("*.md")) if not {*MADE} & {*page.parts}),
]


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def typed_lines(page: Path) -> list[str]:
    """The lines of the blocks that are to be typed into a shell."""
    blocks = re.findall(r"^```bash$\n(.*?)^```$", page.read_text(), re.M | re.S)
    return [line.split(" #")[0].strip() for block in blocks for line in block.splitlines() if line]


def commands(page: Path) -> list[str]:
    """The `volseg` commands to be typed, without what starts them on several devices."""
    found = (re.search(r"(?:^|\s)(volseg [a-z].*)", line) for line in typed_lines(page))
    return [match[1] for match in found if match]


def inline_code(page: Path) -> list[str]:
    """What stands in single backticks; blocks aside."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)
    return [" ".join(code.split()) for code in re.findall(r"(?<!`)`([^`]+)`(?!`)", text)]


def bracketed_paths(page: Path) -> list[str]:
    """Paths that a page names in brackets: [`inference/infer.py`, `metrics/`]."""
    groups = re.findall(r"\[((?:`[\w/.]+`[,\s]*)+)\](?!\()", page.read_text())
    return [path for group in groups for path in re.findall(r"`([^`]+)`", group)]
