"""Templates of pages: names are escaped wherever they are put in, and nothing is forgotten in silence."""

from pathlib import Path

import pytest
from jinja2 import DictLoader, UndefinedError

from volseg.errors import UserError
from volseg.visualization import html_page, svg

ODD = "<b a=\"1\" c='2'>&|"
SHOWN = "&lt;b a=&#34;1&#34; c=&#39;2&#39;&gt;&amp;"
PARTS = {
    "section": "{% call m.section(odd, odd) %}{{ odd }}{% endcall %}",
    "figure": "{{ m.figure(odd, odd, odd, [[odd, 'c0']]) }}",
    "card": "{% call m.card(odd, odd) %}{{ odd }}{% endcall %}",
    "collapsible_card": "{% call m.collapsible_card(odd) %}{{ odd }}{% endcall %}",
    "scroll_area": "{% call m.scroll_area(odd) %}{{ odd }}{% endcall %}",
    "table": "{{ m.table([odd, odd], [[odd, odd]]) }}",
    "tiles": "{{ m.tiles([[odd, odd, odd]]) }}",
    "legend": "{{ m.legend([[odd, 'c0']]) }}",
}


def rendered(template: str, **facts: object) -> str:
    """A template that is no file."""
    environment = html_page._environment()
    macros = environment.loader.get_source(environment, "visualization/macros.html.j2")[0]
    sources = {"macros": macros, "page": f'{{% import "macros" as m %}}{template}'}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(html_page, "_environment", lambda: environment.overlay(loader=DictLoader(sources)))
        return html_page.render("page", **facts)


@pytest.mark.parametrize("part", PARTS)
def test_names_are_escaped_in_every_part(part) -> None:
    text = rendered(PARTS[part], odd=ODD)

    assert "<b" not in text
    assert text.count(SHOWN) == PARTS[part].count("odd") + (
        part == "table"
    )  # the header stands beside a figure


def test_charts_are_put_in_as_they_are() -> None:
    chart = svg.drawing(10, svg.text(0, 0, ODD), label=ODD)

    assert chart in rendered("{{ m.figure('Chart', chart) }}", chart=chart)
    assert "<b" not in chart


def test_a_fact_that_is_missing_is_an_error() -> None:
    with pytest.raises(UndefinedError):
        rendered("{{ figures }}")


def test_line_breaks_between_tags_are_left_out_and_those_in_text_stay() -> None:
    assert rendered("<p>\n  <b>a\n  b</b>\n</p>") == "<p><b>a\n  b</b></p>"
    assert rendered("<pre>{{ text }}</pre>", text=">\n<") == "<pre>&gt;\n&lt;</pre>"


def test_numbers_keep_their_percent_signs() -> None:
    assert rendered("{{ m.text('5 % of 7') }}") == "5\u202f% of 7"


def test_a_page_is_written_over_a_page_or_nothing_and_over_no_other_file(tmp_path: Path) -> None:
    page = str(html_page.render("visualization/page.html.j2", name="a", sections=[], notes=[]))
    path = tmp_path / "a.html"
    for before in (None, "", page.replace(f"volseg {html_page.__version__}", "volseg 0.0.1")):
        if before is not None:
            path.write_text(before)
        html_page.write_page(page, path, usual=path)
        assert path.read_text() == page
    for name, content in {"notes.txt": "mine", "b.html": "<html>Written by someone</html>"}.items():
        (tmp_path / name).write_text(content)
        with pytest.raises(UserError, match=rf"--out .*{name}: exists and is no page by volseg"):
            html_page.write_page(page, tmp_path / name, usual=path)
        assert (tmp_path / name).read_text() == content
    with pytest.raises(UserError, match="is a folder; name a file in it"):
        html_page.write_page(page, tmp_path, usual=path)
