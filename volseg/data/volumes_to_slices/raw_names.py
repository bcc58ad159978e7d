"""Names in the raw layout for scans of any name."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count

from volseg.data.layouts import GITract
from volseg.data.layouts.gi_tract.slice_scan import NAME
from volseg.data.layouts.raw_dataset import RawScan
from volseg.data.scan_names import case_and_day
from volseg.errors import UserError
from volseg.formatting import natural_key

_CASE = re.compile(r"case([0-9]+)")


def raw_names(scans: Sequence[RawScan]) -> dict[str, str]:
    """For each scan's name one like `case123_day20`, its own if it is like that.

    Other cases are numbered in their order, without the numbers of cases and of scans whose labels are known
    to be bad, as `prepare` would exclude their namesakes.

    Raises:
        UserError: scans that would have one name, all of them.
    """
    cases = _case_names(scan.case for scan in scans)
    names = {scan.name: _scan_name(scan, cases[scan.case]) for scan in scans}
    problems = list(_name_clashes(names))
    if problems:
        raise UserError.from_problems(problems)
    return names


def _case_names(cases: Iterable[str]) -> dict[str, str]:
    """The name in the raw layout of each case."""
    cases = sorted(dict.fromkeys(cases), key=natural_key)
    bad = (case_and_day(name)[0] for name in GITract.bad_scans)
    taken = {int(named[1]) for named in map(_CASE.fullmatch, (*cases, *bad)) if named}
    free = (number for number in count(1) if number not in taken)
    return {case: case if _CASE.fullmatch(case) else f"case{next(free)}" for case in cases}


def _scan_name(scan: RawScan, case: str) -> str:
    named = NAME.fullmatch(scan.name)
    if named and named[1] == scan.case and int(named[2]) == scan.day:
        return scan.name
    return f"{case}_day{scan.day}"


def _name_clashes(names: Mapping[str, str]) -> Iterator[str]:
    """A line for each name that several scans would have."""
    sharing: dict[str, list[str]] = {}
    for name, raw_name in names.items():
        sharing.setdefault(raw_name, []).append(name)
    for raw_name, several in sharing.items():
        if len(several) > 1:
            advice = "give each its own day, or rename it"
            yield f"{' and '.join(several)}: would all be called {raw_name}; {advice}"
