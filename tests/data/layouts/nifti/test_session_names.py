"""Names that look like several sessions of one patient, and those that are plain counts."""

import random

import pytest

from volseg.data.layouts.nifti.session_names import session_warnings


def names(pattern, patients=8, visits=3, first=0):
    return [pattern.format(one + 1, visit + first) for one in range(patients) for visit in range(visits)]


SESSIONS = {
    "two numbers in one": names("genius_{:02d}{:02d}"),
    "one digit at the end": names("g{:03d}{}", first=1),
    "a number of its own": names("p{}_{}", 6, 2),
    "behind a dash": names("{:03d}-{}", 6, 2),
    "a modality at the end": names("p{}_{}_T1", 6, 2),
    "names of people": [f"{name}{visit}" for name in ("anna", "bob", "carl") for visit in (1, 2)],
    "some with one": [name for at, name in enumerate(names("p{}_{}")) if at % 4],
    "dates": [f"p{at % 5}_2019{1 + at:02d}07" for at in range(10)],
    "dates with dashes": [f"p{at % 5}_2019-{1 + at:02d}-07" for at in range(10)],
    "words": [f"p{at}_{word}" for at in range(8) for word in ("pre", "post")],
    "sides": [f"{at:03d}-{word}" for at in range(8) for word in ("left", "right")],
    "letters": [f"p{at}{letter}" for at in range(8) for letter in "ab"],
    "words with a modality": [f"p{at}_{word}_T1" for at in range(8) for word in ("baseline", "followup")],
}


@pytest.mark.parametrize("kind", SESSIONS)
def test_names_that_fall_into_groups_as_sessions_do_are_told(kind: str) -> None:
    (line,) = session_warnings(SESSIONS[kind])

    patients = {"names of people": 3, "dates": 5, "dates with dashes": 5}.get(
        kind, 6 if len(SESSIONS[kind]) == 12 else 8
    )
    assert f"are they sessions of {patients} patients" in line
    assert '"case"' in line


COUNTS = {
    "Decathlon": [f"liver_{number}" for number in range(131)],
    "holes": [f"hippocampus_{number:03d}" for number in range(1, 395) if number % 7 not in (0, 3)],
    "BRATS": [f"BRATS_{number:03d}_T1" for number in range(1, 300)],
    "long": [f"amos_{number:04d}" for number in range(600)],
    "no zeros": [f"p{number}" for number in range(24)],
    "two sites": [f"site{site}_{number:03d}" for site in "AB" for number in range(40)],
    "three sites": [f"site{site}_{number:03d}" for site in (1, 2, 3) for number in range(40)],
    "few": ["a_1", "a_2", "b_1"],
    "one word for all": [f"p{number}_pre" for number in range(24)],
    "a word of its own": [f"{number}_{word}" for number, word in enumerate(("anna", "bob", "carl") * 4)],
    "words of one site": [f"site_{word}" for word in ("anna", "bob", "carl", "dora", "emil", "fritz")],
    "days that are understood": names("p{}_day{}"),
    "visits that are understood": names("p{}_visit{}"),
}


@pytest.mark.parametrize("kind", COUNTS)
def test_a_plain_count_is_no_sign_of_sessions(kind: str) -> None:
    assert list(session_warnings(COUNTS[kind])) == []


def test_holes_in_a_count_are_hardly_ever_taken_for_sessions() -> None:
    told = 0
    for seed in range(1000):
        draw = random.Random(seed)
        count = draw.randint(6, 60)
        numbers = draw.sample(range(draw.choice([count + 5, 2 * count, 5 * count])), count)
        told += len([*session_warnings([f"c_{number:0{draw.choice([3])}d}" for number in numbers])])

    assert told <= 5
