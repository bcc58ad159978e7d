"""HTML pages from Jinja templates: one file with all that it shows in it, nothing to load."""

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from volseg import __version__, formatting
from volseg.errors import UserError
from volseg.system.files import refuse_foreign, write_text
from volseg.visualization.overlay import COLOURS

if TYPE_CHECKING:
    from jinja2 import Environment

MARK = "<footer>Written by volseg "
"""What tells a page of volseg, of any version, from other files."""
INDENTATION = re.compile(r">\s*\n\s*<")


def render(template: str, **facts: object) -> Markup:
    """HTML of a template (`report/page/scores.html.j2`); strings among the facts are escaped.

    Line breaks between tags are left out: some browsers show them as spaces. The same facts give the
    same bytes.
    """
    html = _environment().get_template(template).render(facts)
    return Markup(INDENTATION.sub("><", html))  # noqa: S704  the template has escaped the facts


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("volseg", ".")
    environment = Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    environment.globals |= {
        "version": __version__,
        "class_colours": [(colour, _darker_colour(colour)) for colour in COLOURS],
        "asset": lambda name: loader.get_source(environment, name)[0],
    }
    environment.filters |= {
        "number": formatting.format_number,
        "percent": formatting.format_percent,
        "counted": formatting.format_count,
        "dimensions": formatting.format_dimensions,
        "abbreviated": formatting.abbreviate_names,
        "frequencies": formatting.format_frequencies,
    }
    return environment


def check_page_target(path: Path, *, usual: Path) -> None:
    """Refuse a target that can't become a page; `usual` is a path that would do.

    Raises:
        UserError: the path is a folder, or a file that volseg did not write as a page.
    """
    if path.is_dir():
        raise UserError(f"--out {path}: is a folder; name a file in it, e.g. {path / usual.name}")
    refuse_foreign(path, MARK, "page by volseg")


def write_page(text: str, path: Path, *, usual: Path) -> None:
    """Write a page.

    Raises:
        UserError: as of `check_page_target`, or the path can't be written.
    """
    check_page_target(path, usual=usual)
    write_text(path, text)


def css_colour(index: int) -> str:
    """The style sheet's name for the colour of a class, by the place of the class."""
    return f"c{index % len(COLOURS)}"


def _darker_colour(colour: tuple[int, int, int]) -> tuple[int, int, int]:
    """The edge of a mark on light paper."""
    red, green, blue = (round(0.62 * part) for part in colour)
    return red, green, blue
