"""The documentation: it builds, its search finds options, and the names and commands in it exist."""

import importlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests import browser, documented
from tests.test_architecture import FLOORS
from volseg.cli.app import app
from volseg.config import config
from volseg.schema import dotted_keys

ROOT, PAGES = documented.ROOT, documented.PAGES
COMMANDS = sorted(name for name in app if not name.startswith("-"))
KEYS = {*dotted_keys(config.Config)}
SECTIONS = tuple(config.Config.model_fields)
SCREENS = ["index", "tutorials/phantom", "howto/change_settings", "reference/commands/infer",
           "reference/config", "reference/components", "concepts/evaluation", "search"]  # fmt: skip


def options(command: str) -> set[str]:
    """The options of a command, and of the commands below it."""
    parts = [app[command], *(app[command][name] for name in app[command] if not name.startswith("-"))]
    collections = [
        part.assemble_argument_collection(default_parameter=app.default_parameter) for part in parts
    ]
    shown = (one for arguments in collections for one in arguments if one.parameter.parse is not False)
    return {option for one in shown for option in one.names} | {"--help"}


ALL_OPTIONS = set().union(*map(options, COMMANDS))
TYPED = [(documented.name(page), line) for page in PAGES for line in documented.commands(page)]
INLINE = [(documented.name(page), code) for page in PAGES for code in documented.inline_code(page)]


@pytest.mark.parametrize(("page", "line"), TYPED, ids=lambda text: text.replace("/", "_"))
def test_every_command_line_is_understood(page: str, line: str) -> None:
    """Parsed by the command line itself, which knows no other options; the keys of a config exist too."""
    words = shlex.split(line)[1:]

    app.parse_args(words, exit_on_error=False, print_error=False)

    changed = [word.partition("=")[0] for word in words[2:] if "=" in word and not word.startswith("-")]
    assert {*changed} <= KEYS


def test_every_command_line_names_a_config_that_is_there_or_made_before() -> None:
    words = [shlex.split(line) for _, line in TYPED]
    found = {word for line in words for word in line if word.endswith(".yaml")}
    made = {line[line.index("--out") + 1] for line in words if line[1] == "plan" and "--out" in line}

    assert not [name for name in found - made if not (ROOT / name).is_file()]


@pytest.mark.parametrize("page", PAGES, ids=documented.name)
def test_every_script_to_be_run_exists(page: Path) -> None:
    typed = [*documented.typed_lines(page), *documented.inline_code(page)]
    scripts = {path for line in typed for path in re.findall(r"(?:tools|benchmarks)/\w+\.py", line)}

    assert not [script for script in scripts if not (ROOT / script).is_file()]


@pytest.mark.parametrize("page", PAGES, ids=documented.name)
def test_commands_and_options_in_the_text_exist(page: Path) -> None:
    scripts = "".join(path.read_text() for path in [*ROOT.glob("tools/*.py"), *ROOT.glob("benchmarks/*.py")])
    wrong = []
    for code in documented.inline_code(page):
        words = code.split()
        if words[0] == "volseg" and re.match("[a-z]", " ".join(words[1:])):
            known = options(words[1]) if words[1] in COMMANDS else set()
            wrong += [code] if words[1] not in COMMANDS else []
        elif words[0].startswith("--"):
            known = ALL_OPTIONS | {*re.findall(r'"(--[a-z-]+)"', scripts)}
        else:
            continue
        wrong += [word for word in words if word.startswith("--") and word not in known]

    assert not wrong


@pytest.mark.parametrize("page", PAGES, ids=documented.name)
def test_config_keys_in_the_text_exist(page: Path) -> None:
    words = [word for code in documented.inline_code(page) for word in code.split()]
    keys = [re.match(r"[a-z_]+(?:\.[a-z_]+)+", word) for word in words if word.startswith(SECTIONS)]
    named = {key[0] for key in keys if key and key[0].split(".")[0] in SECTIONS}

    assert not {key for key in named - KEYS if not key.endswith((".csv", ".json", ".py", ".yaml"))}


@pytest.mark.parametrize("page", PAGES, ids=documented.name)
def test_dotted_names_exist(page: Path) -> None:
    wrong = []
    for code in documented.inline_code(page):
        named = re.fullmatch(r"(volseg(?:\.\w+)+)(?:\(.*\))?", code)
        if named and not exists(named[1]):
            wrong.append(code)

    assert not wrong


def exists(dotted: str) -> bool:
    """Whether there is such a module, or such a name in one."""
    parts = dotted.split(".")
    for end in range(len(parts), 0, -1):
        try:
            value = importlib.import_module(".".join(parts[:end]))
        except ImportError:
            continue
        for name in parts[end:]:
            if not hasattr(value, name):
                return False
            value = getattr(value, name)
        return True
    return False


@pytest.mark.parametrize("page", PAGES, ids=documented.name)
def test_paths_exist(page: Path) -> None:
    below = [path for path in documented.bracketed_paths(page) if not (ROOT / "volseg" / path).exists()]
    whole = [
        code
        for code in documented.inline_code(page)
        if re.fullmatch(r"(?:volseg|tests|configs|tools|docs|benchmarks)/[\w/.]*", code)
        and "_build" not in code
        and not (ROOT / code).exists()
    ]

    assert not [*below, *whole]


def test_the_concepts_say_where_the_code_is() -> None:
    named = [path for page in PAGES for path in documented.bracketed_paths(page)]

    assert len(named) > 50


def test_names_of_the_recipes_exist() -> None:
    sources = [*ROOT.glob("volseg/**/*.py"), *ROOT.glob("tests/**/*.py"), *ROOT.glob("docs/_ext/**/*.py")]
    known = {word for path in sources for word in re.findall(r"\w+", f"{path} {path.read_text()}")}
    text = (ROOT / "CONTRIBUTING.md").read_text().partition("## How to add")[2].partition("## Proof")[0]
    named = {word for code in re.findall(r"`([^`]+)`", text) for word in re.findall(r"[A-Za-z_]{4,}", code)}

    assert len(named) > 50
    absent = named - known
    assert absent <= {"mynet", "howto"}


def test_the_tree_of_contributing_names_every_package_and_module() -> None:
    tree = (ROOT / "CONTRIBUTING.md").read_text().partition("```text\n")[2].partition("```")[0]
    listed = {word.rstrip("/") for word in re.findall(r"^  ([\w./]+)", tree, re.M)}
    there = {
        path.name
        for path in (ROOT / "volseg").iterdir()
        if not path.name.startswith("_") and path.suffix in ("", ".py")
    }

    assert there <= listed
    assert listed <= there


def test_the_floors_of_contributing_are_those_that_are_tested() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    rows = dict(re.findall(r"^\| (\d+) \| (`.*`) \|$", text, re.M))
    told = {int(number): {*re.findall(r"\w+", names)} for number, names in rows.items()}

    assert told == {n: {*names.split()} for n, names in enumerate(FLOORS, 1) if names != "__main__"}


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site, built with warnings as errors and proxies that nobody can fetch anything by."""
    out = tmp_path_factory.mktemp("site")
    nowhere = dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html"]
    done = subprocess.run(
        [*command, "-d", str(out / "doctrees"), str(ROOT / "docs"), str(out / "html")],
        check=False, capture_output=True, text=True, env={**os.environ, **nowhere},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return out / "html"


@pytest.mark.slow
def test_every_command_and_key_has_its_place(site: Path) -> None:
    assert {path.stem for path in (site / "reference/commands").glob("*.html")} == {*COMMANDS}
    page = (site / "reference/config.html").read_text()
    sections = [key for key in KEYS if key.split(".")[0] in ("data", "augment", "train", "inference")]
    assert not [key for key in sections if key.count(".") == 1 and f'id="confval-{key}"' not in page]
    for command in COMMANDS:
        text = (site / f"reference/commands/{command}.html").read_text()
        shown = {*re.findall(r'id="cmdoption-volseg-\w+(?:-auto)?-([\w-]+)"', text)}
        known = {option.strip("-") for option in options(command) if option.startswith("--")}
        assert known - {"help"} <= shown


@pytest.mark.slow
def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    loads = r"""(?:src=|<link[^>]*href=|url\(|@import )["']?(?:https?:)?//[^"')\s]+"""
    files = [*site.rglob("*.html"), *site.rglob("*.css")]

    assert len(files) > 50
    assert not {found for path in files for found in re.findall(loads, path.read_text())}


@pytest.fixture(scope="module")
def tab(site: Path):
    program = browser.program()
    if program is None:
        pytest.skip("no Chromium on this machine")
    opened = browser.Browser(program)
    yield opened
    opened.close()


@pytest.mark.slow
def test_search_finds_an_option(tab: browser.Browser, site: Path) -> None:
    tab.open(site / "search.html")
    tab.js("Search.performSearch('--max-memory'); 1")
    tab.until("document.querySelectorAll('#search-results li').length > 3")
    tab.until("document.querySelector('#search-results').innerText.includes('volseg-plan.--max-memory')")

    targets = tab.js("[...document.querySelectorAll('#search-results li a')].map(a => a.href).join(' ')")
    assert "reference/commands/infer.html#cmdoption-volseg-infer-max-memory" in targets


@pytest.mark.slow
@pytest.mark.parametrize("page", SCREENS)
@pytest.mark.parametrize("width", [390, 1280])
def test_no_page_is_wider_than_the_screen(tab: browser.Browser, site: Path, page: str, width: int) -> None:
    tab.open(site / f"{page}.html", width=width, dark=width == 390)

    assert tab.js("document.documentElement.scrollWidth") <= width
    assert not [address for address in tab.requests if not address.startswith("file:")]
