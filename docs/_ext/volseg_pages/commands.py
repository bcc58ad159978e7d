"""A page for each command, from the command line itself."""

import inspect
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Union, get_args, get_origin

import docstring_parser
from cyclopts import App
from cyclopts.argument import Argument

from volseg.cli.app import app
from volseg_pages import markdown

SEE = {
    "prepare": ("howto/check_data", "reference/findings", "howto/volumes_to_slices"),
    "stats": ("howto/describe_data",),
    "plan": ("howto/plan_config", "reference/config"),
    "train": ("howto/train", "howto/several_gpus", "howto/fine_tune", "howto/resume", "howto/all_folds"),
    "tune": ("howto/tune_postprocessing", "concepts/tuning"),
    "calibrate": ("howto/calibrate_confidence", "concepts/confidence"),
    "infer": (
        "howto/predict_new_scans",
        "howto/predict_faster",
        "howto/several_gpus",
        "howto/little_memory",
        "howto/better_masks",
        "howto/slurm_array",
        "howto/ray_cluster",
        "howto/kubernetes",
    ),
    "status": ("howto/watch_cohort", "howto/slurm_array", "concepts/cohorts"),
    "export": ("howto/export_package",),
    "evaluate": ("reference/metrics", "concepts/evaluation"),
    "compare": ("howto/compare_runs",),
    "report": ("howto/read_report",),
    "submit": ("tutorials/competition",),
    "contours": ("howto/dicom_contours",),
    "node": ("howto/dicom_node", "reference/dicom_conformance"),
    "demo": ("tutorials/phantom",),
    "phantom": ("tutorials/phantom", "concepts/phantom"),
    "options": ("reference/components", "howto/change_settings", "howto/own_parts"),
}
"""Pages beside the reference that tell more."""
METAVARS = {bool: "", Path: "PATH", str: "TEXT", int: "NUMBER", float: "NUMBER"}


def names() -> list[str]:
    """The commands, in the order of the alphabet."""
    return sorted(name for name in app if not name.startswith("-"))


def command_table() -> str:
    """Each command with a link to its page and its first line."""
    rows = (
        (f"[`volseg {name}`](commands/{name}.md)", markdown.text(_docstring(name)[0])) for name in names()
    )
    return markdown.table(("command", "what it does"), rows)


def page(name: str) -> str:
    """The page of a command, and of the commands below it."""
    below = (f"{name} {one}" for one in app[name] if not one.startswith("-"))
    parts = [*_command(name, "#"), *(part for one in below for part in _command(one, "##")), *_see(name)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _command(name: str, mark: str) -> Iterator[str]:
    """The parts of a command's page; `mark` is that of its heading."""
    summary, details = _docstring(name)
    arguments = [one for one in _arguments(name) if one.field_info.is_positional]
    options = [one for one in _arguments(name) if not one.field_info.is_positional]
    usage = ["volseg", name, *map(_positional, arguments), *(["[OPTIONS]"] if options else [])]
    yield f"{mark} volseg {name}"
    yield markdown.paragraphs(summary)
    yield f"```text\n{' '.join(usage)}\n```"
    yield markdown.paragraphs(details)
    yield f"```{{program}} volseg {name}\n```"
    yield from _section(f"{mark}# Arguments", arguments)
    yield from _section(f"{mark}# Options", options)


def _app(name: str) -> App:
    """The command of a name, `train` or `train auto`."""
    found = app
    for word in name.split():
        found = found[word]
    return found


def _docstring(name: str) -> tuple[str, str]:
    """The first line of a command's help, and the rest of its prose."""
    found = docstring_parser.parse(_app(name).help)
    return found.short_description or "", found.long_description or ""


def _arguments(name: str) -> list[Argument]:
    found = _app(name).assemble_argument_collection(
        default_parameter=app.default_parameter, parse_docstring=True
    )
    return list(found.filter_by(show=True))


def _section(title: str, arguments: list[Argument]) -> Iterator[str]:
    if arguments:
        yield title
    for one in arguments:
        names = _positional(one) if one.field_info.is_positional else _option(one)
        told = " ".join([_sentence(one.parameter.help or ""), *_values(one)])
        yield f":::{{option}} {names}\n{told}\n:::"


def _sentence(words: str) -> str:
    told = markdown.text(words)
    return told if not told or told.endswith(".") else f"{told}."


def _positional(argument: Argument) -> str:
    many = "..." if argument.field_info.kind is inspect.Parameter.VAR_POSITIONAL else ""
    return argument.name + many if argument.required else f"[{argument.name}{many}]"


def _option(argument: Argument) -> str:
    """`--case TEXT...` or `--body-box, --no-body-box`."""
    choices = argument.get_choices()
    hint = _without_none(argument.hint)
    many = get_origin(hint) in (tuple, list)
    kind = get_args(hint)[0] if many else hint
    metavar = " | ".join(choices) if choices else METAVARS.get(kind, "TEXT")
    value = f" {metavar}{'...' if many else ''}" if metavar else ""
    return ", ".join(name + value for name in argument.names)


def _values(argument: Argument) -> Iterator[str]:
    default = argument.field_info.default
    empty = default in (None, False, True, (), inspect.Parameter.empty)
    if not empty and not argument.field_info.is_positional:
        yield f"Default: `{default}`."


def _without_none(hint: Any) -> Any:
    if get_origin(hint) in (Union, types.UnionType, typing.Annotated):
        return next(part for part in get_args(hint) if part is not type(None))
    return hint


def _see(name: str) -> Iterator[str]:
    links = [f"- {{doc}}`/{place}`" for place in SEE.get(name, ())]
    if links:
        yield "## See also"
        yield "\n".join(links)
