"""What corrections cost: changed volume, drawn contour and time, and where masks were changed most."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from volseg.formatting import format_count, format_duration, format_ml, format_number
from volseg.inference.correction_file import ClassCorrection, Correction
from volseg.report.page.content import ReportContent, ReportScan
from volseg.visualization.html_page import render
from volseg.visualization.row_charts import LEFT, RIGHT, ChartRow, strip_plots
from volseg.visualization.svg import Figure, Scale

SHOWN = 20  # scans, those of the longest contour first
UNIT = "% of the way from head to feet"


class CorrectedScan(NamedTuple):
    """A scan that a person has looked at and saved, with what was saved."""

    scan: ReportScan
    saved: Correction

    @property
    def changed(self) -> list[ClassCorrection]:
        """The classes with a change."""
        return [one for one in self.saved.classes.values() if one.changed_voxels]

    @property
    def path_mm(self) -> float:
        """The length of contour that was drawn."""
        return sum(one.added_path_mm for one in self.changed)

    @property
    def slices(self) -> set[int]:
        """The slices with a change of any class."""
        return {number for one in self.changed for number in one.slices}


def correction_costs(content: ReportContent) -> str:
    """A row a class, the place of each changed slice, and a row a scan, of those that were saved."""
    saved = [(scan, scan.record.correction) for scan in content.scans]
    corrected = [CorrectedScan(scan, correction) for scan, correction in saved if correction]
    if not corrected:
        return ""
    corrected.sort(key=lambda one: -one.path_mm)
    by_class = list(_class_rows(content, corrected))
    more = len(corrected) - SHOWN
    return render(
        "report/page/corrections.html.j2",
        lead=_lead(content, corrected),
        by_class=by_class,
        colours=[content.colour(name) for name, *_ in by_class],
        by_scan=[_scan_row(one) for one in corrected[:SHOWN]],
        remainder=f"{format_count(more, 'scan')} with less to draw not shown." if more > 0 else "",
        places=_places_chart(content, corrected),
    )


def _lead(content: ReportContent, corrected: Sequence[CorrectedScan]) -> str:
    """How many scans were looked at, in what time, and what the scores are of."""
    changed = sum(bool(one.changed) for one in corrected)
    seconds = sum(one.saved.seconds for one in corrected)
    each = f", {format_duration(seconds / len(corrected))} a scan" if len(corrected) > 1 else ""
    time = f" They took {format_duration(seconds)}{each}." if seconds else ""
    scores = " Scores, volumes and pictures on this page are of the corrected masks." if changed else ""
    total = format_count(len(content.scans), "scan")
    return f"{len(corrected)} of {total} looked at and saved, {changed} of them with a change.{time}{scores}"


def _class_rows(content: ReportContent, corrected: Sequence[CorrectedScan]) -> Iterator[tuple[str, ...]]:
    """A row a class, the longest contour first, and one of all together."""
    by_class = {
        name: [one.saved.classes[name] for one in corrected if name in one.saved.classes]
        for name in content.classes
    }
    found = {name: ones for name, ones in by_class.items() if ones}
    for name in sorted(found, key=lambda name: -sum(one.added_path_mm for one in found[name])):
        changed = sum(bool(one.changed_voxels) for one in found[name])
        yield name, f"{changed} of {len(found[name])}", *_sums(found[name])
    if len(found) > 1:
        changed = sum(bool(one.changed) for one in corrected)
        yield (
            "all",
            f"{changed} of {len(corrected)}",
            *_sums([one for ones in found.values() for one in ones])[:-1],
            format_number(sum(len(one.slices) for one in corrected)),
        )


def _sums(ones: Sequence[ClassCorrection]) -> tuple[str, ...]:
    added, removed = (format_number(sum(values)) for values in zip(*map(_millilitres, ones), strict=True))
    path_cm = sum(one.added_path_mm for one in ones) / 10
    return added, removed, format_number(path_cm), format_number(sum(len(one.slices) for one in ones))


def _millilitres(one: ClassCorrection) -> tuple[float, float]:
    return one.added_ml, one.removed_ml


def _scan_row(one: CorrectedScan) -> tuple[str, ...]:
    saved = one.saved
    return (
        one.scan.name,
        ", ".join(saved.changed_classes) or "none",
        format_ml(sum(change.changed_ml for change in one.changed)),
        format_number(one.path_mm / 10),
        format_number(len(one.slices)),
        f"{len(saved.looked_at)} of {saved.to_check}" if saved.to_check else "–",
        format_duration(saved.seconds) if saved.seconds else "–",
    )


def _places_chart(content: ReportContent, corrected: Sequence[CorrectedScan]) -> Figure | None:
    """Where between the ends of its scan each changed slice lies, a row a class; None without any."""
    rows = [_places_row(name, corrected, content.colour(name)) for name in content.classes]
    rows = [row for row in rows if row.values]
    if not rows:
        return None
    chart = strip_plots(
        rows, unit=UNIT, label=f"Changed slices of each organ in {UNIT}", scale=Scale(0, 100, LEFT, RIGHT)
    )
    caption = (
        "A dot a changed slice of a scan, 0 % at its end towards the head. Below: 25–75 % as a box, 5–95 % "
        "as a line, median as a tick."
    )
    return Figure("Where masks were changed", chart, caption)


def _places_row(name: str, corrected: Sequence[CorrectedScan], colour: str) -> ChartRow:
    places = [
        (100 * (numbers.index(slice_) + 0.5) / len(numbers), f"{one.scan.name}: slice {slice_}")
        for one in corrected
        if (change := one.saved.classes.get(name)) and (numbers := one.scan.slice_numbers)
        for slice_ in change.slices
        if slice_ in numbers
    ]
    values, hints = [place for place, _ in places], [hint for _, hint in places]
    return ChartRow(name, format_count(len(values), "slice"), values, hints, colour)
