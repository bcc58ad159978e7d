"""A run's config, in two files of its folder: the steps of post-processing in one, the rest in the other.

Before there was `postprocess.yaml`, volseg wrote the steps into `config.yaml` too. Where both tell steps,
`postprocess.yaml` goes before.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from volseg import __version__, run_postprocess
from volseg.config.config import Config, check, parse
from volseg.errors import UserError
from volseg.postprocessing import Step
from volseg.run_postprocess import POSTPROCESS
from volseg.system.files import write_text

CONFIG = "config.yaml"
SECTION = "postprocess"


def write(folder: Path, config: Config) -> None:
    """Write the steps, and the rest of the resolved config with the version."""
    run_postprocess.write(folder, config.postprocess)
    _write(folder, {"version": __version__, **config.model_dump(mode="json", exclude={SECTION})})


def read(folder: Path, classes: Sequence[str]) -> Config:
    """The config of a run of these classes.

    Raises:
        UserError: wrong keys or values, or steps that don't fit the classes or are told nowhere.
    """
    values = _values(folder)
    version = values.pop("version", "unknown")
    steps = run_postprocess.read(folder, classes)
    if steps is not None:
        values.pop(SECTION, None)
    elif SECTION not in values:
        raise UserError(
            f"{folder / POSTPROCESS}: missing; list the steps in it that clean the masks, such as "
            "`- fill_holes`, or [] for none (`volseg options step` lists them)"
        )
    config = check(values, f"{folder / CONFIG} (written by volseg {version})")
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
    run_postprocess.refuse_unfit(steps, classes, folder / POSTPROCESS)
    # first: it goes before, should the rest not be done
    run_postprocess.write(folder, steps, comments)
    values = _values(folder)
    if SECTION in values:
        del values[SECTION]
        _write(folder, values)


def _values(folder: Path) -> dict[str, Any]:
    return parse((folder / CONFIG).read_text(encoding="utf-8"), str(folder / CONFIG))


def _write(folder: Path, values: dict[str, Any]) -> None:
    write_text(folder / CONFIG, yaml.safe_dump(values, sort_keys=False))
