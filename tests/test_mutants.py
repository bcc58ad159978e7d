"""The list of mutants stays true: each still changes the code, in one place, to something that is code."""

import ast
import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SPEC = importlib.util.spec_from_file_location("mutants", ROOT / "tools/mutants.py")
TOOL = sys.modules["mutants"] = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(TOOL)
MUTANTS = TOOL.read_mutants()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.law)
def test_a_mutant_changes_one_place_and_has_tests(mutant) -> None:
    assert list(mutant.problems(ROOT)) == []

    text = (ROOT / mutant.file).read_text()
    assert ast.dump(ast.parse(text.replace(mutant.old, mutant.new))) != ast.dump(ast.parse(text))


def test_there_are_sixty_and_no_two_are_alike() -> None:
    assert len({(mutant.file, mutant.old, mutant.new) for mutant in MUTANTS}) == len(MUTANTS) >= 60
    assert len({mutant.law for mutant in MUTANTS}) == len(MUTANTS)


def test_a_text_that_is_gone_or_there_twice_and_tests_that_are_missing_are_named(tmp_path) -> None:
    (tmp_path / "volseg").mkdir()
    (tmp_path / "volseg/a.py").write_text("x = 1\ny = 1\n")

    twice, gone = (TOOL.Mutant("a law", "volseg/a.py", old, "2") for old in ("1", "3"))

    assert list(twice.problems(tmp_path)) == [
        "a law: '1' is 2 times in volseg/a.py; expected once",
        "a law: no test module tests/test_a.py; name those that ought to notice",
    ]
    assert "'3' is 0 times" in next(gone.problems(tmp_path))


def test_what_no_test_notices_survives_and_spoils_the_score(tmp_path, monkeypatch, capsys) -> None:
    files = {
        "volseg/__init__.py": "",
        "volseg/a.py": "x = 1\n",
        "tests/test_a.py": "from volseg.a import x\n\n\ndef test_x():\n    assert x == 1\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(TOOL, "copy_tree", lambda _: tmp_path)
    mutants = [TOOL.Mutant(f"x is {x}", "volseg/a.py", "x = 1", f"x = {x}") for x in ("2", "1 + 0")]

    assert TOOL.try_mutants(mutants, jobs=1) == 1

    one, other, score = capsys.readouterr().out.splitlines()
    assert one.startswith("noticed")
    assert other.startswith("SURVIVED")
    assert score == "1 of 2 mutants are noticed (50%)"
    assert (tmp_path / "volseg/a.py").read_text() == "x = 1\n"


def test_tests_that_fail_anyway_say_nothing_about_mutants(monkeypatch, capsys, tmp_path) -> None:
    monkeypatch.setattr(TOOL, "copy_tree", lambda _: tmp_path)
    monkeypatch.setattr(TOOL, "run_tests", lambda *_, **__: (1, "1 failed\n"))

    assert TOOL.try_mutants(MUTANTS, jobs=1) == 2
    assert "1 failed\ntests/data/test_splits.py: fails without any mutant" in capsys.readouterr().err
