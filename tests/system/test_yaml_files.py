import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from volseg.errors import UserError
from volseg.system.yaml_files import parse_yaml

TEXT = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), max_size=8)
NUMBERS = st.text("0123456789.:eExXob_+-~", max_size=6)
WORDS = st.sampled_from(
    ["no", "Yes", "ON", "off", "y", "null", "true", "010", "1:30", "2024-01-01", "1e5", "<<", "="]
)
SCALARS = TEXT | NUMBERS | WORDS | st.integers() | st.booleans() | st.none() | st.floats(allow_nan=False)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT | WORDS, inner)
)


@given(VALUES)
def test_what_pyyaml_writes_is_read_as_the_same_values(values) -> None:
    """So names such as no and 010 come back as they were from the files that volseg writes."""
    assert parse_yaml(yaml.safe_dump(values, allow_unicode=True), "here") == values


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None), ("~", None), ("null", None), ("true", True), ("False", False), ("12", 12), ("-3", -3),
        ("+3", 3), ("0", 0), ("0.5", 0.5), ("1.", 1.0), (".5", 0.5), ("1.0e-05", 1e-5), ("-.inf", -math.inf),
        ("010", "010"), ("0o10", "0o10"), ("0x10", "0x10"), ("0b1", "0b1"), ("1_000", "1_000"),
        ("1:30", "1:30"), ("1:30.5", "1:30.5"), ("yes", "yes"), ("No", "No"), ("on", "on"), ("OFF", "OFF"),
        ("y", "y"), ("2024-01-01", "2024-01-01"), ("2001-12-14t21:59:43.10Z", "2001-12-14t21:59:43.10Z"),
        ("=", "="), ("12a", "12a"), ("\u0663", "\u0663"),
    ],
)  # fmt: skip
def test_a_plain_word_is_a_number_only_if_nobody_can_mistake_it(text, value) -> None:
    found = parse_yaml(text, "here")

    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: 1\nb: 2\na: 3", "here: a: given twice, in line 1 and in line 3; keep one"),
        ('a: 1\n"a": 3', "here: a: given twice, in line 1 and in line 2; keep one"),
        ("- {a: {c: 1, c: 1}}", "here: c: given twice, in line 1 and in line 1; keep one"),
        ("{[1]: 2}", "here: line 1: a list or section as a key; expected a name"),
        ("a: &x [1]\nb: *x", "here: not YAML: line 2: *x stands for values elsewhere; write them out"),
        ("a: &x {c: 1}\nb:\n  <<: *x", "here: not YAML: line 3: *x stands for values elsewhere"),
        ("a: !!int 010", "here: not YAML: line 1: tag:yaml.org,2002:int is a tag; write the"),
        ("a: !!python/name:os.system x", "here: not YAML: line 1: tag:yaml.org,2002:python/name:os.sys"),
        ("a:\n\tb: 1", "here: not YAML: while scanning"),
        ("a: 1\n---\nb: 1", "here: not YAML: expected a single document"),
        ("a: \0", "here: not YAML: unacceptable character"),
        ("[" * 2000, "here: not YAML: "),
        ("[" * 2000 + "]" * 2000, "here: not YAML: "),
    ],
)  # fmt: skip
def test_what_would_surprise_is_refused_with_its_line(text, told) -> None:
    with pytest.raises(UserError) as refused:
        parse_yaml(text, "here")

    assert str(refused.value).startswith(told)


def test_tabs_are_told_from_other_faults() -> None:
    with pytest.raises(UserError, match=r"line 2, column 1.*; indent by spaces, not by tabs$"):
        parse_yaml("a:\n\tb: 1", "here")


def test_keys_are_text_whatever_they_look_like() -> None:
    assert parse_yaml("{on: 1, 1: 2, null: 3, true: 4}", "here") == {"on": 1, "1": 2, "null": 3, "true": 4}
