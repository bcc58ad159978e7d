"""The files of the page: a table made once, so that no address reaches any other file."""

from importlib.resources import files
from importlib.resources.abc import Traversable

KINDS = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".md": "text/plain; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
    ".woff2": "font/woff2",
    "": "text/plain; charset=utf-8",
}
FOLDER = "page"
LIST, VIEWER = "list.html", "viewer.html"


def page_files() -> dict[str, Traversable]:
    """The files below `page/` by their names there, such as `view.css` and `niivue/index.js`."""
    found: dict[str, Traversable] = {}
    waiting = [("", files(__package__) / FOLDER)]
    while waiting:
        prefix, folder = waiting.pop()
        for entry in folder.iterdir() if folder.is_dir() else ():
            name = f"{prefix}{entry.name}"
            if entry.is_dir():
                waiting.append((f"{name}/", entry))
            elif kind_of(name):
                found[name] = entry
    return found


def kind_of(name: str) -> str:
    """The media type of a page's file; "" for files that are no part of it, such as Python's."""
    last = name.rpartition("/")[2]
    return KINDS.get(f".{last.rpartition('.')[2]}" if "." in last else "", "")
