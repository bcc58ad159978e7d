import math
import re

from hypothesis import given
from hypothesis import strategies as st

from volseg.visualization.line_charts import LineSeries, line_chart

numbers = st.integers(-9999, 9999).map(lambda n: n / 100)


def drawn(*lines):
    return line_chart(lines, across="step", unit="loss", label="Loss")


@given(st.lists(st.tuples(st.integers(0, 500).map(float), numbers), min_size=1, max_size=40))
def test_marks_stay_within_the_drawing(points) -> None:
    plot = drawn(LineSeries("a", points, "plain"))

    width, height = map(float, re.search(r'viewBox="0 0 (\d+) (\d+)"', plot).groups())
    path = re.search(r'd="M([^"]*)" class="curve', plot)[1]
    for x, y in (map(float, one.split(",")) for one in path.split()):
        assert 0 <= x <= width
        assert 0 <= y <= height


def test_a_line_is_told_in_words() -> None:
    plot = drawn(LineSeries("all", [(100, 0.5), (200, 0.1), (300, 0.2)], "plain"))

    told = "Loss. all: from 0.5 at step 100 to 0.2 at 300, between 0.1 and 0.5"
    assert f'aria-label="{told}"' in plot


def test_what_is_no_number_is_left_out() -> None:
    plot = drawn(
        LineSeries("a", [(1, math.nan), (2, 3.0)], "plain"), LineSeries("b", [(1, math.nan)], "none")
    )

    assert plot.count("<circle") == 1
    assert "nan" not in plot
    assert drawn(LineSeries("a", [(1, math.nan)], "plain")) == ""


def test_a_dashed_line_differs_by_more_than_its_colour() -> None:
    plot = drawn(
        LineSeries("a", [(1, 1), (2, 2)], "c0"), LineSeries("b", [(1, 2), (2, 3)], "c0", dashed=True)
    )

    assert re.findall(r'class="(curve[^"]*)"', plot) == ["curve c0", "curve c0 dashed"]
