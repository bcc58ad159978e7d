"""Names that look like several sessions of one patient, though no word in them says so.

Names that differ only in a last number may be patients, or sessions of patients: `a_1_1, a_1_2, a_2_1` or
`a_0101, a_0102, a_0201`. They are suspected if the numbers fall into groups as sessions do: at least three
groups of at most ten, with the same few small numbers in each, or dates. A plain count, whole or with holes,
such as liver_0 to liver_130, doesn't: it is one group, or its last digits take all values alike. Last words
and letters, as in `a_pre, a_post` or `7a, 7b`, are suspected as the numbers are.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import NamedTuple

from volseg.data.scan_names import case_and_day
from volseg.formatting import first_few, natural_key

FEWEST_NAMES = 6
FEWEST_GROUPS = 3
MOST_SESSIONS = 10
SMALL_SHARE = {1: 5, 2: 20}  # of 10 and 100 last numbers: those that sessions have
DATES = (1900_01_01, 2100_12_31)
_LAST_NUMBER = re.compile(r"(.*?)([0-9]+)")
_LAST_DATE = re.compile(r"([12][0-9]{3})[-_.]([0-9]{2})[-_.]([0-9]{2})$")
_LAST_WORD = re.compile(r"(.*[^_.-])[_.-]([a-z]+)|(.*[0-9])([a-z])", re.IGNORECASE)


class _Name(NamedTuple):
    """A name cut before its supposed session, a number or a `word` of that place in the alphabet."""

    whole: str
    patient: str
    session: int
    word: str = ""


def session_warnings(names: Sequence[str]) -> Iterator[str]:
    """A line where names whose cases are not known look like several sessions of each patient."""
    alone = sorted((name for name in names if case_and_day(name) == (name, 0)), key=natural_key)
    ending = _common_ending(alone)
    stems = {name: _LAST_DATE.sub(r"\1\2\3", name.removesuffix(ending)) for name in alone}
    numbers = (_separate_numbers(stems), _last_digits(stems, 1), _last_digits(stems, 2))
    for parts in (*numbers, _last_words(stems)):
        groups = _group_by_patient(parts)
        if _look_like_sessions(groups):
            first = next(group for group in groups.values() if len(group) > 1)
            shown = ", ".join(first_few([name.whole for name in first], "scans"))
            count = sum(map(len, groups.values()))
            what = "word" if first[0].word else "number"
            yield (
                f"{count} cases of one scan each, whose names differ in a last {what}: are they sessions of "
                f"{len(groups)} patients (such as {shown})? Then one patient may be trained on and validated "
                'on: give each scan its "case" (and "day") in the listing, or name it like '
                f"{first[0].patient.rstrip('_-. ')}_ses-{first[0].word or first[0].session}"
            )
            return


def _common_ending(names: Sequence[str]) -> str:
    """The ending from a separator on that all names share, such as `_T1`."""
    columns = zip(*(name[::-1] for name in names), strict=False)
    shared = "".join(letters[0] for letters in takewhile(lambda letters: len({*letters}) == 1, columns))[::-1]
    cut = re.search(r"[_.-][^0-9].*", shared)
    return cut[0] if cut else ""


def _separate_numbers(stems: dict[str, str]) -> list[_Name]:
    """Names cut before their last number where something other than a digit stands before it."""
    cut = ((whole, _LAST_NUMBER.fullmatch(stem)) for whole, stem in stems.items())
    return [_Name(whole, part[1], int(part[2])) for whole, part in cut if part and part[1]]


def _last_digits(stems: dict[str, str], digits: int) -> list[_Name]:
    """Names cut before their last digits, where all have equally long numbers of small last digits."""
    cut = [(whole, _LAST_NUMBER.fullmatch(stem)) for whole, stem in stems.items()]
    numbers = {len(part[2]) for _, part in cut if part}
    heads = {part[1] for _, part in cut if part}
    if len(numbers) != 1 or len(heads) != 1 or max(numbers) <= digits:
        return []
    parts = [_Name(whole, part[1] + part[2][:-digits], int(part[2][-digits:])) for whole, part in cut if part]
    return parts if all(part.session < SMALL_SHARE[digits] for part in parts) else []


def _last_words(stems: dict[str, str]) -> list[_Name]:
    """Names cut before their last word, or a letter behind a number; words are counted by the alphabet."""
    cut = ((whole, _LAST_WORD.fullmatch(stem)) for whole, stem in stems.items())
    pairs = {whole: (part[1] or part[3], (part[2] or part[4]).lower()) for whole, part in cut if part}
    words = sorted({word for _, word in pairs.values()})
    return [_Name(whole, patient, words.index(word), word) for whole, (patient, word) in pairs.items()]


def _group_by_patient(names: Sequence[_Name]) -> dict[str, list[_Name]]:
    groups: dict[str, list[_Name]] = {}
    for name in names:
        groups.setdefault(name.patient, []).append(name)
    return groups


def _look_like_sessions(groups: dict[str, list[_Name]]) -> bool:
    """Whether groups are those of a few sessions each, with the same few numbers."""
    names = [name for group in groups.values() for name in group]
    if len(names) < FEWEST_NAMES or len(groups) < FEWEST_GROUPS:
        return False
    several = [group for group in groups.values() if len(group) > 1]
    first = min(name.session for name in names)
    starting = sum(min(name.session for name in group) == first for group in groups.values())
    reused = 2 * len({name.session for name in names}) <= len(names) and 2 * starting >= len(groups)
    dates = all(DATES[0] <= name.session <= DATES[1] for name in names)
    few = max(map(len, groups.values())) <= MOST_SESSIONS
    return few and 2 * len(several) >= len(groups) and (reused or dates)
