"""Components of other installed packages, found by their entry points when a name is asked for.

A package offers one by a line in its metadata, such as `tiny = "my_package:TinyNet"` in the group
`volseg.networks`. Nothing is imported before the component is used.
"""

import sys
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version


class PluginError(ValueError):
    """A component of another package that can't be used; the text says whose it is and why."""


@dataclass(frozen=True)
class Plugin:
    """A component that an installed package offers in a group of entry points."""

    group: str
    name: str
    package: str
    version: str
    entry: EntryPoint

    def __str__(self) -> str:
        return f"{self.package} {self.version}"

    def load(self, kind: type, needs: tuple[str, ...]) -> type:
        """The component's class: a `kind` with the members that volseg `needs`.

        Raises:
            PluginError: it can't be imported, or is no such class.
        """
        try:
            component = self.entry.load()
        except Exception as error:  # whatever another package's code raises
            raise self._error(f"{type(error).__name__}: {error}") from error
        if not isinstance(component, type) or not issubclass(component, kind):
            raise self._error(f"{self.entry.value} is no {kind.__name__}")
        fields = getattr(component, "model_fields", {})
        own_name = getattr(fields.get("name"), "default", None)
        if own_name != self.name:
            raise self._error(f"its name is {own_name!r}, and that of its entry point '{self.name}'")
        own = [parent for parent in component.__mro__ if parent not in kind.__mro__]
        defined = {*fields, *(member for parent in own for member in vars(parent))}
        if missing := [member for member in needs if member not in defined]:
            raise self._error(f"{self.entry.value} has no {' and no '.join(missing)}")
        return component

    def _error(self, reason: str) -> PluginError:
        return PluginError(f"'{self.name}' of the package {self} can't be used: {reason}")


def offered_plugins(group: str) -> tuple[Plugin, ...]:
    """What installed packages offer in a group, in the order of their names; nothing is imported."""
    return _read_entry_points(group, tuple(sys.path)) if group else ()


def find_plugin(group: str, name: str) -> Plugin | None:
    """The plug-in of this name, or None.

    Raises:
        PluginError: several packages offer the name.
    """
    found = [plugin for plugin in offered_plugins(group) if plugin.name == name]
    if len(found) > 1:
        packages = " and ".join(map(str, found))
        raise PluginError(f"'{name}' is offered by {packages}; uninstall all but one of them")
    return found[0] if found else None


def installed_version(package: str) -> str | None:
    """The version of a package that is installed, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@cache
def _read_entry_points(group: str, _path: tuple[str, ...]) -> tuple[Plugin, ...]:
    """The plug-ins on this `sys.path`; reading what a hundred packages offer takes a tenth of a second."""
    plugins = (
        Plugin(group, e.name, e.dist.name if e.dist else "?", e.dist.version if e.dist else "?", e)
        for e in entry_points(group=group)
    )
    return tuple(sorted(plugins, key=lambda plugin: (plugin.name, plugin.package)))
