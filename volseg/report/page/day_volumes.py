"""How the volumes of organs change over the days of a case."""

from collections.abc import Mapping, Sequence

from volseg import formatting
from volseg.report.page.content import Facts, Scan
from volseg.visualization import html_page
from volseg.visualization.line_charts import Line, curves
from volseg.visualization.stylesheet import colour

CASES, CLASSES = 9, 6
"""Cases and classes that are plotted: the cases of the worst scans, and the largest classes."""


def days(facts: Facts) -> str:
    """A plot for each case that was predicted on several days."""
    cases: dict[str, list[Scan]] = {}
    for scan in facts.scans:
        if scan.day is not None:
            cases.setdefault(scan.case, []).append(scan)
    several = {case: scans for case, scans in cases.items() if len(scans) > 1}
    if not several:
        return ""
    organs = _largest(facts)
    plots = [_case(case, several[case], organs, facts) for case in list(several)[:CASES]]
    return html_page.section(
        "Volumes over days", _lead(len(several)), _legend(organs, facts), *plots
    )


def _lead(cases: int) -> str:
    left = cases - CASES
    more = f" {formatting.plural(left, 'other case')} not drawn." if left > 0 else ""
    return (
        f"Of cases that were predicted on two days or more, the one of the worst scan first.{more}"
    )


def _legend(organs: Sequence[str], facts: Facts) -> str:
    sides = [("prediction", "none dashed")]
    if any(scan.scores for scan in facts.scans):
        sides.insert(0, ("truth", "none"))
    return html_page.legend([*((name, colour(facts.kind(name))) for name in organs), *sides])


def _largest(facts: Facts) -> list[str]:
    """The largest classes, in their usual order."""
    total = {
        name: sum(scan.volume_ml.get(name, 0) for scan in facts.scans) for name in facts.classes
    }
    largest = sorted(total, key=lambda name: -total[name])[:CLASSES]
    return [name for name in facts.classes if name in largest]


def _case(case: str, scans: Sequence[Scan], organs: Sequence[str], facts: Facts) -> str:
    lines = []
    for name in organs:
        kind = colour(facts.kind(name))
        true = _over_days(name, [(scan.day, _truth_ml(scan)) for scan in scans])
        found = _over_days(name, [(scan.day, scan.volume_ml) for scan in scans])
        lines += [
            Line(f"{name}, truth", true, kind),
            Line(f"{name}, prediction", found, kind, True),
        ]
    label = f"Volumes of {case} by day"
    return html_page.figure(case, curves(lines, across="day", unit="ml", label=label, zero=True))


def _truth_ml(scan: Scan) -> dict[str, float]:
    return {organ: values["truth_ml"] for organ, values in scan.values.items()}


def _over_days(
    name: str, volumes: Sequence[tuple[int | None, Mapping[str, float]]]
) -> list[tuple[float, float]]:
    return sorted((float(day or 0), one[name]) for day, one in volumes if name in one)
