"""The files of the page: a table of what is there, each with its kind, and nothing of Python."""

import pytest

from volseg.viewer.page_files import kind_of, page_files


def test_every_file_of_the_page_is_served_and_no_module() -> None:
    names = {*page_files()}

    assert {"list.html", "viewer.html", "view.css", "niivue/index.js"} <= names
    assert not [name for name in names if ".py" in name or name.startswith((".", "/")) or ".." in name]


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.js", "text/javascript"), ("niivue/LICENSE", "text/plain"), ("a.svg", "image/svg+xml"), ("a.py", ""),
     ("__pycache__/a.pyc", ""), (".hidden", "")],
)  # fmt: skip
def test_a_file_has_the_kind_of_its_ending(name, kind) -> None:
    assert kind_of(name).startswith(kind)
    assert bool(kind_of(name)) == bool(kind)
