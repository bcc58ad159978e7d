from typing import Annotated, Literal

import pytest
from pydantic import TypeAdapter, ValidationError

from volseg.schema import (
    ClassName,
    FileName,
    NamedUnion,
    PathInside,
    ScanName,
    Section,
    dotted_keys,
    explain_errors,
    name_fault,
    union_members,
)

BAD_NAMES = (
    "", " ", ".", "..", ".hidden", "-rf", "a/b", "../../x", "/etc/passwd", "a\\b", "C:x", "a\0b", "a\nb",
    "\udc80", "x" * 201, "é" * 101, "con", "NUL.x", "Com1",
)  # fmt: skip
GOOD_NAMES = ("case1_day0", "left kidney", "Milz-links", "肝", "a..b", "sub-01_ses-2", "x" * 200, "console")


class Round(Section):
    name: Literal["round"] = "round"
    radius: float = 1.0


class Square(Section):
    name: Literal["square"] = "square"
    side: float = 2.0


class Drawing(Section):
    shape: Annotated[Round | Square, NamedUnion()] = Round()
    extra: tuple[Annotated[Round | Square, NamedUnion()], ...] = ()
    scale: float = 1.0


def lines(values: object) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        Drawing.model_validate(values)
    return list(explain_errors(caught.value, Drawing))


def test_a_bare_name_stands_for_its_defaults() -> None:
    assert Drawing.model_validate({"shape": "square", "extra": ["round"]}) == Drawing(
        shape=Square(), extra=(Round(),)
    )


def test_all_mistakes_are_told_at_once() -> None:
    told = lines({"shape": {"name": "square", "sid": 2}, "scale": "big", "scales": 1})

    assert told == [
        "shape.sid: unknown key, did you mean shape.side?",
        "scale: Input should be a valid number, unable to parse string as a number (got 'big')",
        "scales: unknown key, did you mean scale?",
    ]


def test_a_key_in_the_wrong_section_is_sent_to_its_own() -> None:
    assert lines({"radius": 2}) == ["radius: unknown key, did you mean shape.radius?"]


def test_an_unknown_name_lists_the_known_ones() -> None:
    assert lines({"shape": "sqare"}) == [
        "shape: unknown name 'sqare', did you mean square? (known: round, square)"
    ]


def test_settings_without_a_name_say_how_one_is_given() -> None:
    told = "has no name; expected a bare name, or {name: ...} with its settings"
    assert lines({"shape": {"round": 3}}) == [f"shape: {told}"]


def test_a_mistake_in_a_list_names_its_place() -> None:
    assert lines({"extra": ["round", {"name": "round", "radius": "x"}]})[0].startswith(
        "extra.1.radius: Input should be a valid number"
    )


def test_members_and_keys_follow_the_union() -> None:
    assert union_members(Annotated[Round | Square, NamedUnion()]) == {"round": Round, "square": Square}
    assert {"shape.radius", "shape.side", "scale"} <= set(dotted_keys(Drawing))


def test_settings_can_not_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Drawing().scale = 3  # type: ignore[misc]


@pytest.mark.parametrize("kind", [ScanName, ClassName, FileName])
@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_is_one_of_a_file_in_its_folder(name: str, kind: type[str]) -> None:
    assert name_fault(name)
    with pytest.raises(ValidationError, match="can't be the name of"):
        TypeAdapter(kind).validate_python(name)


@pytest.mark.parametrize("name", GOOD_NAMES)
def test_other_names_stay_as_they_are(name: str) -> None:
    assert TypeAdapter(ScanName).validate_python(name) == name
    assert TypeAdapter(PathInside).validate_python(f"labels/{name}/{name}.nii.gz")


@pytest.mark.parametrize("path", ["", "/x", "../x", "a/../../x", "a/..", "C:/x", "a\\..\\x", "a/\0"])
def test_a_path_inside_a_folder_stays_there(path: str) -> None:
    with pytest.raises(ValidationError, match="not the path of a file inside"):
        TypeAdapter(PathInside).validate_python(path)
