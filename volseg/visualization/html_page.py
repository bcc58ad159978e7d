"""Pages for people: one file of HTML with all that it shows in it, nothing to load."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

from volseg import __version__
from volseg.errors import UserError
from volseg.system.files import write_text
from volseg.visualization.stylesheet import style


def page(
    title: str,
    subtitle: str,
    parts: Sequence[str],
    *,
    made_from: str,
    sheet: str = "",
    script: str = "",
) -> str:
    """The whole file. `title` may be `NAME: what the page is`; its heading is the name.

    `parts` are the page's HTML from top to bottom, empty where there is nothing to show; `sheet` and
    `script` are added to what every page has. The same arguments give the same bytes.
    """
    name = title.partition(": ")[0]
    ending = f"<script>\n{script}\n</script>" if script else ""
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>\n<style>\n{style()}{sheet}\n</style>\n</head>\n<body>\n<main>",
            f"<header><h1>{escape(name)}</h1><p>{escape(subtitle)}</p></header>",
            *(part for part in parts if part),
            f"<footer>Written by volseg {__version__}, from {escape(made_from)}.</footer>",
            f"</main>\n{ending}</body>\n</html>\n",
        ]
    )


def write(text: str, path: Path, *, usual: Path) -> None:
    """Write a page; `usual` is a path that would do.

    Raises:
        UserError: the path is a folder, or can't be written.
    """
    if path.is_dir():
        raise UserError(f"--out {path}: is a folder; name a file in it, e.g. {path / usual.name}")
    write_text(path, text)
