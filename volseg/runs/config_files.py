"""A run's config, in two files of its folder: the steps of post-processing in one, the rest in the other.

Before there was `postprocess.yaml`, volseg wrote the steps into `config.yaml` too. Where both tell steps,
`postprocess.yaml` goes before.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from volseg import __version__
from volseg.config.config import Config, parse_yaml, validate_values
from volseg.errors import UserError, short_repr
from volseg.postprocessing import Step, ineffective_steps, unknown_classes
from volseg.system.files import write_text

POSTPROCESS = "postprocess.yaml"
Steps = tuple[Step, ...]
HEADER = (
    "How this run's masks are cleaned: steps, in order, as in the section `postprocess` of a config.",
    "`volseg infer` goes by this file, and it may be edited; `volseg options step` lists the steps.",
    "Without any, [], a mask is where the probability is at least one half.",
    "In a package it is sealed: edit that of the run, and export the run again.",
)


def read_steps(folder: Path, classes: Sequence[str]) -> Steps | None:
    """The steps that `postprocess.yaml` lists for these classes; None where there is no such file.

    An empty list means no steps; an empty file, as a stopped editor may leave, means nothing.

    Raises:
        UserError: not readable, no list of steps, wrong names, keys or values, a step for another class,
            or one that does nothing.
    """
    path = folder / POSTPROCESS
    if not path.exists():
        return None
    steps = validate_values({"postprocess": _read_step_list(path)}, str(path)).postprocess
    refuse_unfit_steps(steps, classes, path)
    return steps


def write_steps(folder: Path, steps: Sequence[Step], comments: Sequence[str] = ()) -> None:
    """Write `postprocess.yaml`, atomically: the header, then lines of comment, then a line a step."""
    lines = [line for text in (*HEADER, *comments) for line in text.splitlines() or [""]]
    plain = ("".join(one if one.isprintable() else " " for one in line) for line in lines)
    commented = (f"# {line}".rstrip() for line in plain)  # YAML has no control characters
    write_text(folder / POSTPROCESS, "\n".join([*commented, *_step_lines(steps), ""]))


def refuse_unfit_steps(steps: Sequence[Step], classes: Sequence[str], path: Path) -> None:
    """Refuse steps that can't do anything in a run of these classes.

    Raises:
        UserError: names `path` and each such step.
    """
    problems = [*unknown_classes(steps, classes), *ineffective_steps(steps, classes)]
    if problems:
        raise UserError.from_problems([f"{path}:", *(f"  {problem}" for problem in problems)])


def _read_step_list(path: Path) -> list[object]:
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
            f"got {'nothing' if values is None else short_repr(values)}"
        )
    return values


def _step_lines(steps: Sequence[Step]) -> Iterator[str]:
    """A line a step, with every setting but the classes of a step that is for all."""
    if not steps:
        yield "[]"
    for step in steps:
        values = step.model_dump(mode="json", exclude=None if step.only else {"only"})
        told = values if len(values) > 1 else step.name
        flow = yaml.safe_dump(told, default_flow_style=True, width=10**6, sort_keys=False)
        yield "- " + flow.removesuffix("\n").removesuffix("\n...")


CONFIG = "config.yaml"
SECTION = "postprocess"


def write_config(folder: Path, config: Config) -> None:
    """Write the steps, and the rest of the resolved config with the version."""
    write_steps(folder, config.postprocess)
    _write_config_values(
        folder, {"version": __version__, **config.model_dump(mode="json", exclude={SECTION})}
    )


def read_config(folder: Path, classes: Sequence[str]) -> Config:
    """The config of a run of these classes.

    Raises:
        UserError: wrong keys or values, or steps that don't fit the classes or are told nowhere.
    """
    values = _config_values(folder)
    version = values.pop("version", "unknown")
    steps = read_steps(folder, classes)
    if steps is not None:
        values.pop(SECTION, None)
    elif SECTION not in values:
        raise UserError(
            f"{folder / POSTPROCESS}: missing; list the steps in it that clean the masks, such as "
            "`- fill_holes`, or [] for none (`volseg options step` lists them)"
        )
    config = validate_values(values, f"{folder / CONFIG} (written by volseg {version})")
    return config if steps is None else config.model_copy(update={SECTION: steps})


def steps_file(folder: Path) -> Path:
    """The file that tells the steps."""
    own = folder / POSTPROCESS
    return own if own.is_file() else folder / CONFIG


def replace_steps(
    folder: Path, classes: Sequence[str], steps: Sequence[Step], comments: Sequence[str]
) -> None:
    """Write other steps, with lines of comment above them; an old config loses those that it has.

    Raises:
        UserError: a step for another class, or one that does nothing.
    """
    refuse_unfit_steps(steps, classes, folder / POSTPROCESS)
    # first: it goes before, should the rest not be done
    write_steps(folder, steps, comments)
    values = _config_values(folder)
    if SECTION in values:
        del values[SECTION]
        _write_config_values(folder, values)


def _config_values(folder: Path) -> dict[str, Any]:
    return parse_yaml((folder / CONFIG).read_text(encoding="utf-8"), str(folder / CONFIG))


def _write_config_values(folder: Path, values: dict[str, Any]) -> None:
    write_text(folder / CONFIG, yaml.safe_dump(values, sort_keys=False))
