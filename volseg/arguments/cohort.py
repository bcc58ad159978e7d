"""The options of the commands that can share the scans of a dataset among several machines."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from volseg.arguments.groups import MACHINE, OUTPUT
from volseg.arguments.values import Cluster


@Parameter(name="*")
@dataclass(frozen=True)
class CohortArguments:
    """Where the scans are worked on, and who is told."""

    on: Annotated[Cluster, MACHINE] = None
    """`ray` for workers on all cores of this machine, or on the machines of the cluster that RAY_ADDRESS
    names; ray://HOST:PORT for those of another cluster."""
    events: Annotated[Path | None, OUTPUT] = None
    """A file to which a line of JSON is added for each scan as it is done."""
