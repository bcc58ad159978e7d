"""What `volseg prepare` says of its findings, on which stream, and by which exit code."""

import json
import os
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from tests.raw import CLASSES, SCANS, Raw, png
from volseg import cli
from volseg.data.layouts.findings import SEVERITIES

BAD, ODD = SCANS[0], SCANS[3]
COLUMN = "│"


@pytest.fixture
def raw(tmp_path, monkeypatch):
    """A dataset with a remark on the whole (a folder that is no case), elsewhere nothing."""
    monkeypatch.chdir(tmp_path)
    raw = Raw(tmp_path / "raw")
    (raw.root / "train/others").mkdir()
    return raw


def spoil_a_scan(raw):
    raw.path(BAD, 13).write_bytes(b"")


def spoil_the_whole(raw):
    raw.rows[f"{BAD}_slice_0013", "spleen"] = ""
    raw.save()


def spoil_every_scan(raw):
    for scan in SCANS:
        raw.path(scan, 13).write_bytes(b"")


def one_value(raw):
    raw.path(ODD, 14).write_bytes(png(np.full((7, 9), 5, np.uint16)))


def prepare(raw, *words):
    return cli.run_command(["prepare", str(raw.root), "--workers", "1", *words])


def files(raw):
    return {path: path.stat().st_mtime_ns for path in raw.root.parent.rglob("*")}


def rows(text):
    """The cells of a table's rows."""
    lines = [line for line in text.splitlines() if line.startswith(COLUMN)]
    return [[cell.strip() for cell in line.strip(COLUMN).split(COLUMN)] for line in lines]


# The table


def test_the_table_tells_scan_severity_kind_and_the_whole_message_of_each_finding(raw, capsys):
    spoil_a_scan(raw)
    one_value(raw)

    prepare(raw, "--check")

    message = f"{raw.path(BAD, 13)}: zero bytes; copy or download the file again"
    found = rows(capsys.readouterr().out)
    assert found[0][:3] == ["(dataset)", "note", "dataset"]
    assert found[1:] == [
        [BAD, "error", "image", message],
        [ODD, "warning", "constant slice", "one value only on slice 14"],
    ]


def test_the_table_groups_by_scan_with_the_worst_first_after_the_whole_dataset(raw, capsys):
    spoil_the_whole(raw)
    raw.rows[f"{BAD}_slice_0011", "stomach"] = "1 2 3"
    raw.save()
    spoil_a_scan(raw)
    one_value(raw)
    words = ("--check", "--exclude", BAD, ODD)

    prepare(raw, *words)

    found = [row[:3] for row in rows(capsys.readouterr().out)]
    assert found == [
        ["(dataset)", "error", "dataset"],
        ["", "note", "dataset"],
        [BAD, "error", "image"],
        ["", "error", "labels"],
        ["", "note", "excluded"],
        [ODD, "warning", "constant slice"],
        ["", "note", "excluded"],
    ]


def test_brackets_of_names_are_no_markup_in_the_table(raw, capsys):
    raw.rows[f"{BAD}_slice_0013", "[red]x[/red]"] = ""
    raw.save()

    prepare(raw, "--check")

    assert "unknown class '[red]x[/red]'" in rows(capsys.readouterr().out)[0][3]


def test_the_last_line_counts_scans_and_findings(raw, capsys):
    spoil_a_scan(raw)
    one_value(raw)

    prepare(raw, "--check")

    assert capsys.readouterr().out.splitlines()[-1] == (
        "nothing written: 3 of 4 scans without a fault (1 error, 1 warning, 1 note)"
    )


# JSON


def told(capsys):
    return json.loads(capsys.readouterr().out)


def test_json_counts_what_it_lists_and_names_scans_or_null(raw, capsys):
    spoil_a_scan(raw)
    spoil_the_whole(raw)
    one_value(raw)

    prepare(raw, "--check", "--json")

    found = told(capsys)
    assert (found["source"], found["scans"], found["good"]) == (str(raw.root), 4, 3)
    counted = Counter(one["severity"] for one in found["findings"])
    assert found["counts"] == {severity: counted[severity] for severity in SEVERITIES}
    assert found["counts"] == {"error": 2, "warning": 1, "note": 1}
    assert [one["scan"] for one in found["findings"]] == [None, None, BAD, ODD]
    assert found["findings"][3] == {
        "scan": ODD,
        "severity": "warning",
        "kind": "constant slice",
        "message": "one value only on slice 14",
        "slices": [14],
        "classes": [],
    }


def test_json_and_table_tell_the_same(raw, capsys):
    spoil_a_scan(raw)
    one_value(raw)
    prepare(raw, "--check", "--json")
    plain = told(capsys)["findings"]

    prepare(raw, "--check")

    shown = rows(capsys.readouterr().out)
    assert [row[1:] for row in shown] == [[one["severity"], one["kind"], one["message"]] for one in plain]


def test_json_alone_stands_on_stdout_with_check_and_without(raw, capsys):
    one_value(raw)
    for words, summary in ((["--check"], "nothing written: "), ([], "data/prepared: ")):
        prepare(raw, "--json", *words)

        streams = capsys.readouterr()
        assert json.loads(streams.out)["good"] == 4
        assert streams.err.startswith(summary)


def test_names_that_are_no_text_are_told_and_end_in_no_traceback(raw):
    """In a process of its own, since capsys takes any text."""
    (raw.path(BAD, 13).parent / os.fsdecode(b"\xff.png")).write_bytes(b"")
    command = [sys.executable, "-m", "volseg", "prepare", raw.root, "--check", "--workers", "1"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}

    for words in ([], ["--json"]):
        ended = subprocess.run(
            [*command, *words], capture_output=True, text=True, env=environment, check=False
        )

        assert ended.returncode == cli.SOME_FAILED
        assert "udcff.png: not the name of a slice" in ended.stdout
        assert "Traceback" not in ended.stderr


# Exit codes


def nothing(raw):
    pass


@pytest.mark.parametrize(
    ("spoil", "code", "strictly"),
    [
        (nothing, 0, 0),
        (one_value, 0, 0),  # a warning is no error
        (spoil_a_scan, cli.SOME_FAILED, 1),
        (spoil_the_whole, 1, 1),
        (spoil_every_scan, 1, 1),
    ],
)
def test_the_exit_code_says_whether_there_are_errors(raw, capsys, spoil, code, strictly):
    spoil(raw)

    assert prepare(raw, "--check") == code
    assert prepare(raw, "--check", "--json") == code
    assert prepare(raw, "--check", "--strict") == strictly
    assert prepare(raw, "--strict", "--out", "strict") == strictly
    assert prepare(raw) == code
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("spoil", [nothing, one_value, spoil_a_scan, spoil_the_whole])
@pytest.mark.parametrize("words", [(), ("--json",), ("--strict",), ("--out", "new/folder")])
def test_check_writes_nothing_at_all(raw, spoil, words):
    spoil(raw)
    before = files(raw)

    prepare(raw, "--check", *words)

    assert files(raw) == before


def test_check_leaves_an_earlier_result_as_it_was(raw):
    prepare(raw)
    spoil_a_scan(raw)
    before = files(raw)

    prepare(raw, "--check")

    assert files(raw) == before


@pytest.mark.parametrize("spoil", [spoil_a_scan, spoil_the_whole, spoil_every_scan])
def test_strict_with_errors_writes_nothing_at_all(raw, spoil):
    spoil(raw)
    before = files(raw)

    prepare(raw, "--strict")

    assert files(raw) == before


# A normal run


def test_a_run_tells_its_result_on_stdout_and_its_findings_on_stderr(raw, capsys):
    spoil_a_scan(raw)
    one_value(raw)

    assert prepare(raw, "--exclude", ODD) == cli.SOME_FAILED

    streams = capsys.readouterr()
    assert streams.out == ("data/prepared: 3 of 4 scans without a fault (1 error, 1 warning, 2 notes)\n")
    lines = streams.err.splitlines()
    assert lines[:2] == [
        f"failed: {raw.path(BAD, 13)}: zero bytes; copy or download the file again",
        f"warning: {ODD}: one value only on slice 14",
    ]
    assert lines[2].startswith(f"note: {raw.root}: left out, not named like")
    assert lines[3:] == [f"note: excluded from training and scoring: {ODD}"]


def test_of_many_warnings_a_run_tells_each_kind_and_the_check_all(raw, capsys):
    for number in range(6):
        for scan in SCANS:
            (raw.folder(scan).parent / f"{scan}{number}").mkdir()
    for number in range(6):
        for scan in SCANS:
            new = f"{scan}{number}"
            for path in (raw.folder(scan) / "scans").iterdir():
                copy = raw.folder(scan).parent / new / "scans" / path.name
                copy.parent.mkdir(exist_ok=True)
                copy.write_bytes(path.read_bytes())
            for slice_number in range(11, 16):
                for organ in CLASSES:
                    raw.rows[f"{new}_slice_{slice_number:04d}", organ] = ""
    raw.save()

    prepare(raw)
    lines = capsys.readouterr().err.splitlines()
    prepare(raw, "--check", "--json")
    warnings = told(capsys)["counts"]["warning"]

    shown = [line for line in lines if line.startswith("warning: ")]
    assert warnings == 48  # each copy repeats slices and has no organ
    assert len(shown) == 2
    assert shown[0].startswith("warning: no organ in 24 of 28 scans (")
    assert shown[1].startswith("warning: repeated slice in 24 of 28 scans (")
    assert all("24 findings, such as case1_day" in line and "--check" in line for line in shown)


def test_of_many_failed_scans_each_kind_of_fault_is_one_line(raw, capsys):
    for number in range(1, 13):
        (raw.folder(BAD).parent / f"case1_day1{number}").mkdir()

    prepare(raw)

    failed = [line for line in capsys.readouterr().err.splitlines() if line.startswith("failed: ")]
    assert len(failed) == 1
    assert "slices in 12 of 16 scans (" in failed[0]
    assert all(f"case1_day1{number}" in failed[0] for number in range(1, 13))


def test_a_second_run_says_what_it_did_not_do_again(raw, capsys):
    prepare(raw)
    capsys.readouterr()

    prepare(raw)

    assert "note: 4 scans are unchanged and were not done again" in capsys.readouterr().err
