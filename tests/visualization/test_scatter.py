import re

import pytest

from volseg.visualization.line_charts import ScatterGroup, scatter_plot


def drawn(*points: tuple[float, float]) -> str:
    told = [(x, y, f"{x} {y}") for x, y in points]
    return scatter_plot([ScatterGroup(told, "c0")], expected="confidence", measured="Dice", label="Dice")


def dots(plot: str) -> list[tuple[float, float]]:
    found = re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', plot)
    return [(float(x), float(y)) for x, y in found]


def line(plot: str) -> list[tuple[float, float]]:
    """The diagonal: the only line that is neither level nor upright."""
    ends = re.findall(r'd="M([\d.]+),([\d.]+) ([\d.]+),([\d.]+)"', plot)
    tilted = [list(map(float, one)) for one in ends if one[0] != one[2] and one[1] != one[3]]
    assert len(tilted) == 1
    (a, b, c, d) = tilted[0]
    return [(a, b), (c, d)]


@pytest.mark.parametrize("value", [0.2, 0.55, 0.9])
def test_equal_pairs_lie_on_the_line(value) -> None:
    plot = drawn((0.2, 0.9), (value, value))

    ((x0, y0), (x1, y1)), (x, y) = line(plot), dots(plot)[1]
    assert y0 + (y1 - y0) * (x - x0) / (x1 - x0) == pytest.approx(y, abs=0.3)


def test_what_is_less_than_was_expected_lies_below_the_line() -> None:
    plot = drawn((0.9, 0.2), (0.5, 0.5))

    (_, low), (_, same) = dots(plot)
    assert low > same  # pixels count downwards
    assert "<title>0.9 0.2</title>" in plot
