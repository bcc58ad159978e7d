"""The components of other packages that a run's config names: kept in `config.yaml`, asked for by name."""

import logging
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from volseg.config.config import Config
from volseg.errors import UserError
from volseg.formatting import join_names
from volseg.model.losses import Loss
from volseg.model.networks import Network
from volseg.plugins import find_plugin, installed_version
from volseg.postprocessing import Step
from volseg.schema import Section, explain_errors, union_group, union_members

log = logging.getLogger(__name__)


class PluginRecord(Section):
    """A component of another package: its group of entry points, its name, the package and its version."""

    group: str
    name: str
    package: str
    version: str

    @property
    def is_missing(self) -> bool:
        """Whether no package offers the component here."""
        return find_plugin(self.group, self.name) is None


def used_plugins(config: Config) -> list[PluginRecord]:
    """The components of other packages in a config, each once, as they are installed now."""
    kinds = ((Network, (config.network,)), (Loss, (config.loss,)), (Step, config.postprocess))
    named = {
        (union_group(kind), component.name): None
        for kind, components in kinds
        for component in components
        if component.name not in union_members(kind)
    }
    found = (find_plugin(group, name) for group, name in named)
    return [
        PluginRecord(group=plugin.group, name=plugin.name, package=plugin.package, version=plugin.version)
        for plugin in found
        if plugin
    ]


def parse_records(values: Any, where: str) -> tuple[PluginRecord, ...]:
    """The records that a config lists.

    Raises:
        UserError: they are none.
    """
    try:
        return TypeAdapter(tuple[PluginRecord, ...]).validate_python(values)
    except ValidationError as error:
        lines = explain_errors(error, PluginRecord)
        raise UserError.from_problems(f"{where}: plugins.{line}" for line in lines) from error


def missing_packages(records: Sequence[PluginRecord], refusal: UserError) -> Iterator[str]:
    """A line for each package that lacks here, if a config was refused by the name of a missing component."""
    missing = [record for record in records if record.is_missing]
    if not any(f"'{record.name}'" in str(refusal) for record in missing):
        return
    packages: dict[tuple[str, str], list[str]] = {}
    for record in missing:
        packages.setdefault((record.package, record.version), []).append(f"'{record.name}'")
    for (package, made_with), names in packages.items():
        told = f"{join_names(names)}: of the package {package} {made_with}"
        if here := installed_version(package):
            yield f"{told}, and {here}, which is installed, has no such component; install {made_with}"
        else:
            yield f"{told}, which is not installed; `pip install {package}=={made_with}`"


def note_other_versions(records: Sequence[PluginRecord], folder: Path) -> None:
    """Tell once of each package that is installed in another version than a run was made with."""
    for record in records:
        here = installed_version(record.package)
        if here and here != record.version:
            _note_once(f"{folder}: was made with {record.package} {record.version}, and {here} is installed")


@cache
def _note_once(text: str) -> None:
    log.warning(text)
