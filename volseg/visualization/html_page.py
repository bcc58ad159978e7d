"""Pages for people: one file of HTML with all that it shows in it, nothing to load."""

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from volseg import __version__, formatting
from volseg.errors import UserError
from volseg.system.files import write_text
from volseg.visualization.stylesheet import build_css, css_colour


def render_page(
    title: str, subtitle: str, parts: Sequence[str], *, made_from: str, sheet: str = "", script: str = ""
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
            f"<title>{escape(title)}</title>\n<style>\n{build_css()}{sheet}\n</style>\n</head>\n<body>\n<main>",
            f"<header><h1>{escape(name)}</h1><p>{escape(subtitle)}</p></header>",
            *(part for part in parts if part),
            f"<footer>Written by volseg {__version__}, from {escape(made_from)}.</footer>",
            f"</main>\n{ending}</body>\n</html>\n",
        ]
    )


def write_page(text: str, path: Path, *, usual: Path) -> None:
    """Write a page; `usual` is a path that would do.

    Raises:
        UserError: the path is a folder, or can't be written.
    """
    if path.is_dir():
        raise UserError(f"--out {path}: is a folder; name a file in it, e.g. {path / usual.name}")
    write_text(path, text)


def figure(title: str, plot: str, caption: str = "") -> str:
    """A plot with its title above and a word on how to read it below."""
    told = f"<figcaption>{_escape_text(caption)}</figcaption>" if caption else ""
    return f"<figure><h3>{escape(title)}</h3>{plot}{told}</figure>"


def card(title: str, content: str, caption: str = "", *, full: bool = False) -> str:
    """A table or another thing that is no plot, framed like one; `full` over the width of the page.

    Its title may be empty where the section's says it.
    """
    told = f"<figcaption>{_escape_text(caption)}</figcaption>" if caption else ""
    kind = "card full" if full else "card"
    heading = f"<h3>{escape(title)}</h3>" if title else ""
    return f'<div class="{kind}">{heading}{content}{told}</div>'


def section(title: str, lead: str, *parts: str, kind: str = "plots") -> str:
    """A part of the page; nothing where it has nothing to show.

    `plots` stand side by side where there is room, what is in a `stack` one below the other.
    """
    shown = [part for part in parts if part]
    if not shown:
        return ""
    told = f"<p>{_escape_text(lead)}</p>" if lead else ""
    return f'<section><h2>{escape(title)}</h2>{told}<div class="{kind}">{"".join(shown)}</div></section>'


def legend(keys: Iterable[tuple[str, str]]) -> str:
    """What lines mean: names, and classes of the style sheet such as `c0 dashed`."""
    listed = "".join(f'<li><span class="key {kind}"></span>{escape(name)}</li>' for name, kind in keys)
    return f'<ul class="legend">{listed}</ul>'


def scroll_area(content: str, name: str) -> str:
    """What may be larger than its place, with bars of its own; the keyboard scrolls it too."""
    return f'<div class="scrolled" tabindex="0" role="region" aria-label="{escape(name)}">{content}</div>'


def prose(lines: Sequence[str]) -> str:
    """Text within a card, a paragraph each."""
    return "".join(f'<p class="prose">{_escape_text(one)}</p>' for one in lines)


def collapsible_card(title: str, content: str) -> str:
    """What few readers want to see at once: shown when they open it."""
    return f'<details class="card full"><summary>{escape(title)}</summary>{content}</details>'


def _escape_text(told: str) -> str:
    """Text whose numbers stay with their percent signs at the end of a line."""
    return escape(told.replace(" %", f"{formatting.THIN}%"))


def table(
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    kind: str = "",
    swatches: Sequence[int | None] = (),
) -> str:
    """A table of a name and its figures. A cell `a|b` shows b small below a.

    On narrow screens a table of the kind `wide` shows its headers beside the figures.
    """
    heads = "".join(f'<th scope="col">{escape(one)}</th>' for one in header)
    body = ""
    for index, row in enumerate(rows):
        swatch = swatches[index] if index < len(swatches) else None
        mark = "" if swatch is None else f'<span class="swatch {css_colour(swatch)}"></span>'
        cells = zip(header[1:], row[1:], strict=True)
        body += f'<tr><th scope="row"><span>{mark}{escape(row[0])}</span></th>'
        body += "".join(_table_cell(name, told) for name, told in cells) + "</tr>"
    css = f' class="{kind}"' if kind else ""
    return f"<table{css}><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"


def _table_cell(name: str, told: str) -> str:
    large, _, small = told.partition("|")
    below = f"<small>{escape(small)}</small>" if small else ""
    label = f' data-label="{escape(name)}"' if name else ""
    return f"<td{label}><span>{escape(large)}{below}</span></td>"


def tiles(facts: Iterable[tuple[str, str, str]]) -> str:
    """The key figures: what, how much, and a word more."""
    return (
        '<dl class="tiles">'
        + "".join(
            f"<div><dt>{escape(what)}</dt><dd>{escape(value)}</dd>"
            + (f"<dd>{escape(more)}</dd>" if more else "")
            + "</div>"
            for what, value, more in facts
        )
        + "</dl>"
    )


def notes(lines: Sequence[str]) -> str:
    """Remarks, a paragraph each."""
    return "".join(f'<p class="notes">{escape(one)}</p>' for one in lines)
