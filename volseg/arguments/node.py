"""The options of `volseg node`."""

from dataclasses import dataclass
from pathlib import Path

from cyclopts import Parameter

from volseg.arguments.values import Many


@Parameter(name="*")
@dataclass(frozen=True)
class NodeArguments:
    """Options of node; without any, it runs until it is stopped."""

    status: bool = False
    """Print how the node is, from its files alone, and end; the exit code is 1 if it is dead or stuck."""
    retry: Many[str] = ()
    """Put these dead letters, or `all`, back into the queue and end; a node that runs takes them up."""
    folder: Path | None = None
    """Contour the series below this folder by the rules, once and without a network."""
    out: Path | None = None
    """The folder for what --folder makes: new or empty."""
