"""A config as YAML with a comment behind each setting."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from volseg.config.config import Config

WIDTH = 100
MEANINGS = {
    "data.below_cut": "slices below the last labelled one are background, or the loss ignores them",
    "data.hold_out": "cases that no fold touches",
    "augment.flip": "axes that are mirrored; left and right stay apart without x",
    "augment.rotate_degrees": "largest rotation",
    "augment.scale": "largest zoom",
    "network.res_units": "convolutions of a level, with a shortcut around them",
    "optimizer.lr": "lower it if a run breaks off with a loss that is no number",
    "optimizer.warmup": "share of the run in which the rate rises",
    "train.foreground": "share of patches that are centred on a class",
    "train.accumulate": "parts that a batch is taken in; more need less memory",
    "train.clip": "largest norm of the gradient",
    "train.ema": "decay of the moving average of the weights, which is kept; 0: none",
    "train.epoch_steps": "from one validation to the next; null: as often as takes 15 % of the time at most",
    "train.teacher": "a folder of probability maps to learn from; null: labels alone",
    "train.teacher_weight": "the teacher's share of the loss where there are labels",
    "train.select": "the score on whole scans that chooses the weights: dice, kaggle or surface_dice",
    "train.patience": "validations without a better score after which training ends; null: never",
    "train.checkpoint_minutes": "how often an epoch saves its state",
    "train.precision": "auto: bfloat16 where the hardware has it",
    "train.compile": "let torch compile the network, which takes minutes; for a GPU",
    "train.seed": "the same seed draws the same patches and first weights",
    "train.workers": "threads that prepare patches; null: none on a CPU, two to four for a GPU",
    "inference.overlap": "of neighbouring windows",
    "inference.body_box": "leave out the air around the body",
    "inference.flips": "axes along which mirrored views are averaged; the time doubles with each",
    "inference.gate": "another run that empties slices of a class; null: none",
    "inference.batch": "windows at a time; null: as many as suit the engine",
    "postprocess": "the order in which masks are cleaned; see `volseg options step`",
}
"""Comments of settings for which no reason is given."""


def format_config(
    config: Config, reasons: Mapping[str, str], header: Sequence[str], footer: Sequence[str] = ()
) -> str:
    """YAML that `config.load` reads back as this config, with `reasons` by dotted key as comments.

    A setting without a reason has its meaning, or `default`; steps that the config does not list are left
    out. Indented lines of the header and the footer are commands or YAML and are not wrapped.
    """
    above, below = ([f"# {part}" for line in end for part in _wrap_line(line)] for end in (header, footer))
    body = _section_lines(config.to_values(), reasons, "")
    return "\n".join([*above, *body, *below, ""])


def _wrap_line(line: str) -> list[str]:
    """A line of the header or footer, wrapped if it is not indented."""
    if line.startswith("  "):
        return [" ".join(line.splitlines())]
    return textwrap.wrap(line, WIDTH - 2)


def _section_lines(values: Mapping[str, Any], reasons: Mapping[str, str], place: str) -> Iterator[str]:
    indent = "  " * (place.count(".") + bool(place))
    for key, value in values.items():
        dotted = f"{place}.{key}" if place else key
        reason = reasons.get(dotted)
        comment = f"# {' '.join((reason or _default_comment(dotted)).split())}"
        if isinstance(value, dict):
            yield f"{indent}{key}:  {comment}" if reason else f"{indent}{key}:"
            yield from _section_lines(value, reasons, dotted)
        elif _is_component_list(value):
            yield f"{indent}{key}:  {comment}"
            yield from (f"{indent}  - {flow_style(component)}" for component in value)
        else:
            yield from _setting_lines(f"{indent}{key}: {flow_style(value)}", comment)


def _setting_lines(setting: str, comment: str) -> Iterator[str]:
    """A setting with its comment behind it, or above where the line would be too long."""
    if len(setting) + len(comment) + 2 <= WIDTH:
        yield f"{setting}  {comment}"
        return
    indent = setting[: len(setting) - len(setting.lstrip())]
    wrapped = textwrap.wrap(comment[2:], WIDTH - len(indent) - 2)
    yield from (f"{indent}# {part}" for part in wrapped)
    yield setting


def _default_comment(dotted: str) -> str:
    section, _, key = dotted.rpartition(".")
    if key == "name":
        return f"see `volseg options {section.rpartition('.')[2]}`"
    meaning = MEANINGS.get(dotted)
    return f"{meaning} (default)" if meaning else "default"


def _is_component_list(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def flow_style(value: Any) -> str:
    """A value on one line."""
    dumped = yaml.safe_dump(value, default_flow_style=True, width=10**6, sort_keys=False)
    return dumped.removesuffix("\n").removesuffix("\n...")
