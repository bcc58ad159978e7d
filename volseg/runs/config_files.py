"""The two files of a run's config: `postprocess.yaml` lists its steps, `config.yaml` holds the rest.

`config.yaml` also has the version of volseg, and the overrides that the run was begun with. Older versions
of volseg wrote the steps into it too. Where both list steps, those of `postprocess.yaml` hold.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from volseg import __version__
from volseg.config.config import Config, parse_sections, validate_values
from volseg.errors import UserError, short_repr
from volseg.postprocessing import Step, ineffective_steps, unknown_classes
from volseg.runs.folds import NAMES
from volseg.runs.plugin_records import missing_packages, note_other_versions, parse_records, used_plugins
from volseg.system.files import read_text, write_text
from volseg.system.yaml_files import parse_yaml

CONFIG: str = "config.yaml"
POSTPROCESS: str = "postprocess.yaml"
SECTION = "postprocess"
VERSION, OVERRIDES, PLUGINS = "version", "overrides", "plugins"
"""Keys of `config.yaml` beside the sections of the config."""
Steps = tuple[Step, ...]
HEADER = (
    "How this run's masks are cleaned: steps, in order, as in the section `postprocess` of a config.",
    "`volseg infer` goes by this file, and it may be edited; `volseg options step` lists the steps.",
    "Without any, [], a mask is where the probability is at least one half.",
    "In a package it is sealed: edit that of the run, and export the run again.",
)


def read_steps(folder: Path, classes: Sequence[str]) -> Steps | None:
    """The steps that `postprocess.yaml` lists for these classes; None where there is no such file.

    Raises:
        UserError: not readable, no list of steps (an empty file is none), wrong names, keys or values, a
            step for another class, or one that does nothing.
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
    printable = ("".join(c if c.isprintable() else " " for c in line) for line in lines)
    commented = (f"# {line}".rstrip() for line in printable)  # YAML has no control characters
    write_text(folder / POSTPROCESS, "\n".join([*commented, *step_lines(steps), ""]))


def refuse_unfit_steps(steps: Sequence[Step], classes: Sequence[str], path: Path) -> None:
    """Raise a UserError that names `path` and each step that has no effect in a run of these classes."""
    problems = [*unknown_classes(steps, classes), *ineffective_steps(steps, classes)]
    if problems:
        raise UserError.from_problems([f"{path}:", *(f"  {problem}" for problem in problems)])


def _read_step_list(path: Path) -> list[object]:
    """The content of the list, which is yet to be checked."""
    values = parse_yaml(read_text(path), str(path))
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


def step_lines(steps: Sequence[Step]) -> Iterator[str]:
    """A line a step, with all its settings; `only` is left out of a step for all classes."""
    if not steps:
        yield "[]"
    for step in steps:
        values = step.model_dump(mode="json", exclude=None if step.only else {"only"})
        entry = values if len(values) > 1 else step.name
        flow = yaml.safe_dump(entry, default_flow_style=True, width=10**6, sort_keys=False)
        yield "- " + flow.removesuffix("\n").removesuffix("\n...")


def write_config(
    folder: Path, config: Config, comments: Sequence[str] = (), overrides: Sequence[str] = ()
) -> None:
    """Write the steps, below lines of comment, and the rest of the resolved config with the version.

    `overrides` are those that are in the config already, for `recorded_overrides`.
    """
    write_steps(folder, config.postprocess, comments)
    _write_config_values(folder, _values_of(config, __version__, overrides), config)


def rewrite_config(folder: Path, config: Config, overrides: Sequence[str]) -> None:
    """Write another config and its overrides over those of a run, which keeps its steps and its version."""
    steps = {key: values for key, values in _config_values(folder).items() if key == SECTION}
    _write_config_values(folder, {**_values_of(config, _version(folder), overrides), **steps}, config)


def copy_without_names(source: Path, folder: Path, config: Config) -> None:
    """Write a run's config and steps into a folder without what may name scans or people.

    That is the cases held out, the folder of a teacher's maps, overrides, and comments.
    """
    data = config.data.model_copy(update={"hold_out": ()})
    train = config.train.model_copy(update={"teacher": None})
    nameless = config.model_copy(update={"data": data, "train": train})
    write_steps(folder, config.postprocess)
    _write_config_values(folder, _values_of(nameless, _version(source), ()), nameless)


def recorded_overrides(folder: Path, new: Sequence[str] = ()) -> tuple[str, ...]:
    """The overrides that a run, or the first fold of one, was begun with, and behind them `new` ones.

    A new one takes the place of an old one of its key. Runs of earlier versions recorded none.
    """
    place = next((p for p in (folder, folder / NAMES[0]) if (p / CONFIG).is_file()), None)
    old = _config_values(place).get(OVERRIDES, ()) if place else ()
    keys = tuple(f"{override.partition('=')[0]}." for override in new)
    return (*(o for o in old if not f"{o.partition('=')[0]}.".startswith(keys)), *new)


def read_config(folder: Path, classes: Sequence[str]) -> Config:
    """The config of a run of these classes.

    Raises:
        UserError: wrong keys or values, steps that don't fit the classes or are nowhere listed, or a
            component of a package that isn't installed.
    """
    values = _config_values(folder)
    records = parse_records(values.pop(PLUGINS, ()), str(folder / CONFIG))
    try:
        config = _parse_config(folder, classes, values)
    except UserError as error:
        if missing := list(missing_packages(records, error)):
            raise UserError.from_problems(f"{folder}: {line}" for line in missing) from error
        raise
    note_other_versions(records, folder)
    return config


def _parse_config(folder: Path, classes: Sequence[str], values: dict[str, Any]) -> Config:
    version = values.pop(VERSION, "unknown")
    values.pop(OVERRIDES, None)
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
    """The file that lists the steps."""
    own = folder / POSTPROCESS
    return own if own.is_file() else folder / CONFIG


def replace_steps(
    folder: Path, classes: Sequence[str], steps: Sequence[Step], comments: Sequence[str]
) -> None:
    """Write other steps, with lines of comment above them, and remove those of an old config.

    Raises:
        UserError: a step for another class, or one that does nothing.
    """
    refuse_unfit_steps(steps, classes, folder / POSTPROCESS)
    write_steps(folder, steps, comments)  # first: it holds, even if the config is not rewritten
    values = _config_values(folder)
    config = read_config(folder, classes)
    if SECTION in values or _plugin_values(config) != values.get(PLUGINS, []):
        values.pop(SECTION, None)
        _write_config_values(folder, values, config)


def _config_values(folder: Path) -> dict[str, Any]:
    return parse_sections(read_text(folder / CONFIG), str(folder / CONFIG))


def _write_config_values(folder: Path, values: dict[str, Any], config: Config) -> None:
    """Write values of a config, and behind them the components of other packages in it."""
    plugins = _plugin_values(config)
    own = {key: value for key, value in values.items() if key != PLUGINS}
    written = {**own, **({PLUGINS: plugins} if plugins else {})}
    write_text(folder / CONFIG, yaml.safe_dump(written, sort_keys=False))


def _plugin_values(config: Config) -> list[dict[str, str]]:
    return [record.model_dump() for record in used_plugins(config)]


def _version(folder: Path) -> str:
    return str(_config_values(folder).get(VERSION, "unknown"))


def _values_of(config: Config, version: str, overrides: Sequence[str]) -> dict[str, Any]:
    recorded = {OVERRIDES: list(overrides)} if overrides else {}
    return {VERSION: version, **config.model_dump(mode="json", exclude={SECTION}), **recorded}
