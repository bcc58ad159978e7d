"""Findings as they are printed: the weightiest first, many alike in one line, none that matters hidden."""

import pytest

from volseg.data.layouts.findings import Finding
from volseg.preparation.finding_groups import FEW, HEAVY, LIGHT, group_lines

TOTAL = 20


def finding(scan, kind, message="odd on slice 3", **more):
    return Finding(scan=scan, severity="warning", kind=kind, message=message, **more)


def repeated(scan, name, *slices):
    message = f"{name} has the same mask on slices {', '.join(map(str, slices))}"
    return finding(scan, "repeated mask", message, slices=slices, classes=(name,))


def test_a_few_findings_are_told_one_by_one_and_more_in_one_line():
    few = [finding(f"scan_{number}", "no organ") for number in range(FEW)]
    more = [*few, finding("scan_9", "no organ")]

    assert list(group_lines(few, TOTAL)) == [f"warning: scan_{n}: odd on slice 3" for n in range(FEW)]
    (line,) = group_lines(more, TOTAL)
    assert line.startswith("warning: no organ in 4 of 20 scans (scan_0, scan_1, scan_2, scan_9): 4 findings")


def test_what_most_scans_have_is_a_note_with_its_classes_and_stands_last():
    common = [repeated(f"s{n}", name, z, z + 1) for n in range(14) for name in ("a", "b") for z in (4, 11)]

    lines = list(group_lines([*common, finding("s3", "mirrored", "mirrored")], 14))

    assert len(lines) == 2
    assert lines[0] == "warning: s3: mirrored"
    assert lines[1].startswith("note: repeated mask in all 14 scans, a trait of this dataset rather than")
    assert (
        "(slices copied or interpolated?): a, b: 56 findings, such as s0: a has the same mask on" in lines[1]
    )


def test_what_matters_is_not_hidden_among_what_most_scans_have():
    common = [repeated(f"s{n}", "a", 4, 5) for n in range(14)]
    apart = repeated("s3", "b", 2, 30)
    shared = finding("s5", "repeated mask", "4 slices have the masks of slices of s1", slices=(1, 2, 3, 4))

    lines = list(group_lines([*common, apart, shared], 14))

    assert lines[:2] == [f"warning: s5: {shared.message}", f"warning: s3: {apart.message}"]
    assert len(lines) == 3


@pytest.mark.parametrize("kind", [*HEAVY, "no organ", "label values"])
def test_what_weighs_stays_a_warning_and_names_every_scan(kind):
    scans = [f"s{number:02d}" for number in range(19)]

    (line,) = group_lines([finding(scan, kind) for scan in scans], TOTAL)

    assert line.startswith("warning: ")
    assert all(scan in line for scan in scans)


def test_the_weightiest_come_first():
    kinds = [*LIGHT, "no organ", *HEAVY]
    told = [line.removeprefix("warning: s: ") for line in group_lines([finding("s", k, k) for k in kinds], 9)]

    assert told == [*HEAVY, "no organ", *LIGHT]


def test_different_findings_of_one_kind_keep_their_lines():
    odd = [finding(f"s{n}", "header", f"/x/s{n}.nii: states no orientation") for n in range(6)]
    sheared = [finding(f"s{n}", "header", f"/x/s{n}.nii: qform and sform disagree") for n in range(6)]

    assert len(list(group_lines([*odd, *sheared], 6))) == 2


def test_findings_on_the_whole_dataset_are_never_grouped():
    whole = [finding("", "near name", f"{number} of 40 images") for number in range(9)]

    assert list(group_lines(whole, TOTAL)) == [f"warning: {one.message}" for one in whole]
