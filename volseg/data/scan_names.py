"""The case and the day that a scan's name tells, where no table says them.

Prepared datasets have a case for each scan; only the layouts and `infer --input` go by names.
"""

import re

_WORDS = "day|ses|session|visit|tp|time-?point"
_DAY_LAST = re.compile(rf"(.+)[_-](?:{_WORDS})[-_]?([0-9]+)", re.IGNORECASE)
_DAY_INSIDE = re.compile(rf"(.+?)[_-](?:{_WORDS})[-_]?([0-9]+)_[a-z].*", re.IGNORECASE)
_NAMED_SESSION = re.compile(r"(.+?)_ses-([a-z0-9]+)(?:_.*)?", re.IGNORECASE)
_BIDS = re.compile(r"(sub-[a-z0-9]+)(?:_ses-([a-z0-9]+))?(?:_.*)?", re.IGNORECASE)


def case_and_day(name: str) -> tuple[str, int]:
    """Case and day by a scan's name; a name without a day is its own case, on day 0.

    The day is the number of `case123_day20`, `a_ses-2`, `a_visit3`, `a_tp1`, `a_timepoint2_T1` or BIDS's
    `sub-01_ses-02_T1w`. Sessions with names (`ses-baseline`) are on the day of their number, or 0.
    """
    for form in (_BIDS, _DAY_LAST, _DAY_INSIDE, _NAMED_SESSION):
        if named := form.fullmatch(name):
            number = re.search("[0-9]+", named[2] or "")
            return named[1], int(number[0]) if number else 0
    return name, 0
