"""Installed packages made by tests: a module and its metadata in a folder for `sys.path`."""

from collections.abc import Mapping
from pathlib import Path


def install(
    site: Path, package: str, entry_points: Mapping[str, str], code: str, version: str = "1.0"
) -> None:
    """A package with one module; `entry_points` maps `group:name` to a name in the module."""
    module = package.replace("-", "_")
    metadata = site / f"{module}-{version}.dist-info"
    metadata.mkdir(parents=True, exist_ok=True)
    (site / f"{module}.py").write_text(code)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    lines = []
    for place, name in entry_points.items():
        group, _, entry = place.partition(":")
        lines += [f"[{group}]", f"{entry} = {module}:{name}"]
    (metadata / "entry_points.txt").write_text("\n".join(lines))
