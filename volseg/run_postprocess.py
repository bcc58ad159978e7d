"""A run's post-processing: a file of steps in its folder, which people edit and tuning replaces."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from volseg.config.config import check
from volseg.errors import UserError, short
from volseg.postprocessing import Step, undone, unknown_classes
from volseg.system.files import write_text

POSTPROCESS = "postprocess.yaml"
Steps = tuple[Step, ...]
HEADER = (
    "How this run's masks are cleaned: steps, in order, as in the section `postprocess` of a config.",
    "`volseg infer` goes by this file, and it may be edited; `volseg options step` lists the steps.",
    "Without any, [], a mask is where the probability is at least one half.",
    "In a package it is sealed: edit that of the run, and export the run again.",
)


def read(folder: Path, classes: Sequence[str]) -> Steps | None:
    """The steps that `postprocess.yaml` lists for these classes; None where there is no such file.

    An empty list means no steps; an empty file, as a stopped editor may leave, means nothing.

    Raises:
        UserError: not readable, no list of steps, wrong names, keys or values, a step for another class,
            or one that does nothing.
    """
    path = folder / POSTPROCESS
    if not path.exists():
        return None
    steps = check({"postprocess": _listed(path)}, str(path)).postprocess
    refuse_unfit(steps, classes, path)
    return steps


def write(folder: Path, steps: Sequence[Step], comments: Sequence[str] = ()) -> None:
    """Write `postprocess.yaml`, atomically: the header, then lines of comment, then a line a step."""
    lines = [line for text in (*HEADER, *comments) for line in text.splitlines() or [""]]
    plain = ("".join(one if one.isprintable() else " " for one in line) for line in lines)
    commented = (f"# {line}".rstrip() for line in plain)  # YAML has no control characters
    write_text(folder / POSTPROCESS, "\n".join([*commented, *_entries(steps), ""]))


def refuse_unfit(steps: Sequence[Step], classes: Sequence[str], path: Path) -> None:
    """Refuse steps that can't do anything in a run of these classes.

    Raises:
        UserError: names `path` and each such step.
    """
    problems = [*unknown_classes(steps, classes), *undone(steps, classes)]
    if problems:
        raise UserError.of([f"{path}:", *(f"  {problem}" for problem in problems)])


def _listed(path: Path) -> list[object]:
    """What stands in the list, yet to be checked.

    Raises:
        UserError: not YAML, or no list.
    """
    try:
        values = yaml.safe_load(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: can't be read: {error.strerror}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if isinstance(values, dict) and list(values) == ["postprocess"]:
        raise UserError(
            f"{path}: has a line `postprocess:` as a config has; leave it out, the list alone is wanted"
        )
    if not isinstance(values, list):
        raise UserError(
            f"{path}: expected a list of steps, one a line, such as `- fill_holes` (none: []), "
            f"got {'nothing' if values is None else short(values)}"
        )
    return values


def _entries(steps: Sequence[Step]) -> Iterator[str]:
    """A line a step, with every setting but the classes of a step that is for all."""
    if not steps:
        yield "[]"
    for step in steps:
        values = step.model_dump(mode="json", exclude=None if step.only else {"only"})
        told = values if len(values) > 1 else step.name
        flow = yaml.safe_dump(told, default_flow_style=True, width=10**6, sort_keys=False)
        yield "- " + flow.removesuffix("\n").removesuffix("\n...")
