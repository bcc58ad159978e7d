import re

from hypothesis import given
from hypothesis import strategies as st

from volseg.visualization import row_charts
from volseg.visualization.row_charts import ChartRow, Span


def circles(plot):
    return [(float(x), float(y)) for x, y in re.findall(r'<circle cx="([\d.-]+)" cy="([\d.-]+)"', plot)]


@given(st.lists(st.integers(0, 9999).map(lambda x: x / 100), min_size=1, max_size=300) | st.just([7.0] * 300))
def test_dots_stay_in_their_row_and_the_same_values_give_the_same_cloud(values) -> None:
    lines = [ChartRow("one", "", values), ChartRow("other", "", values)]

    plot = row_charts.strip_plots(lines, unit="ml", label="dots")

    found = circles(plot)
    step = row_charts.HEAD + row_charts.BODY + row_charts.GAP
    for index, part in enumerate((found[: len(values)], found[len(values) :])):
        top = index * step + row_charts.HEAD
        assert all(top <= y <= top + row_charts.CLOUD for _, y in part)
        assert len(part) == len(values)
    assert plot == row_charts.strip_plots(lines, unit="ml", label="dots")


@given(st.lists(st.integers(1, 400), min_size=1, max_size=100))
def test_bars_count_every_value_once(values) -> None:
    plot = row_charts.histograms([ChartRow("x", "", values)], unit="voxels", label="bars")

    counts = re.findall(r": ([\d\u202f]+) scans?</title>", plot)
    assert sum(int(count) for count in counts) == len(values)


def test_a_profile_is_full_where_every_scan_has_the_class() -> None:
    spans = [[Span(0, 100), Span(50, 100)]]

    plot = row_charts.presence_profiles([ChartRow("x", "", [])], spans, unit="mm", label="profile")

    outline = re.search(r'<path d="M([^"]*)Z"', plot)[1]
    heights = {float(x): float(y) for x, y in (point.split(",") for point in outline.split()[1:-1])}
    base = row_charts.HEAD + row_charts.BODY
    middle = (row_charts.LEFT + row_charts.RIGHT) / 2
    assert {base - y for x, y in heights.items() if x < middle - 2} == {row_charts.BODY / 2}
    assert {base - y for x, y in heights.items() if middle + 2 < x < row_charts.RIGHT} == {row_charts.BODY}
