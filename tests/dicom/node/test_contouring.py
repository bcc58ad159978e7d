"""What a process that contours has said, as the reason of a dead letter."""

import pytest

from volseg.dicom.node import contouring

LINE = "  7: scan (MR, 14 slices)\n"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("", ""),
        ("Traceback:\n  line 1\nKeyError: 1\n\n", "KeyError: 1"),
        ("note: a\nvolseg: b: c\n", "volseg: b: c"),
        ("volseg: b\nc\n\n", "volseg: b; c"),
        ("failed: a: b\n2 scans\n", "failed: a: b; 2 scans"),
        ("volseg: leave out --allow-no-frame and --max-memory\n",
         "volseg: leave out --allow-no-frame and rules.options.max_memory"),
    ],
)  # fmt: skip
def test_the_reason_is_the_refusal_or_the_last_line(tmp_path, said, reason) -> None:
    (tmp_path / "log.txt").write_text(f"volseg: of the try before\n{said}")

    assert contouring._read_reason(tmp_path / "log.txt", len("volseg: of the try before\n")) == reason


def test_a_long_reason_is_cut_and_begins_with_what_is_wrong(tmp_path) -> None:
    (tmp_path / "log.txt").write_text(f"volseg: 2000 volumes; pick one:\n{LINE * 2000}")
    reason = contouring._read_reason(tmp_path / "log.txt", 0)

    assert reason.startswith("volseg: 2000 volumes; pick one: 7: scan (MR, 14 slices); 7: scan")
    assert len(reason) <= 1200
    (tmp_path / "log.txt").write_text("volseg: " + "x" * 10_000_000)
    assert len(contouring._read_reason(tmp_path / "log.txt", 0)) <= 1200
