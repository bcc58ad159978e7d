"""The components of other packages that a run's config names: kept in `config.yaml`, asked for by name."""

import logging
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from volseg.config.config import Config
from volseg.errors import UserError
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
    def fault(self) -> str:
        """What stops the component from being used here, or ''."""
        if find_plugin(self.group, self.name):
            return ""
        told = f"'{self.name}' is of the package {self.package} {self.version}"
        if installed := installed_version(self.package):
            return f"{told}, and {installed}, which is installed, has none; install {self.version}"
        return f"{told}, which is not installed; `pip install {self.package}=={self.version}`"


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


def missing_parts(records: Sequence[PluginRecord], refusal: UserError) -> Iterator[str]:
    """A line for each component that isn't here, of those by which a config was refused."""
    return (fault for record in records if f"'{record.name}'" in str(refusal) and (fault := record.fault))


def note_other_versions(records: Sequence[PluginRecord], folder: Path) -> None:
    """Tell once of each package that is installed in another version than a run was made with."""
    for record in records:
        here = installed_version(record.package)
        if here and here != record.version:
            _note_once(f"{folder}: was made with {record.package} {record.version}, and {here} is installed")


@cache
def _note_once(text: str) -> None:
    log.warning(text)
