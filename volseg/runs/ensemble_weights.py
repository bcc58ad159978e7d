"""`ensembles.json`: the weights that `volseg tune` found for ensembles in which a run is named first."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from pydantic import PositiveFloat

from volseg.runs.run_files import ENSEMBLES
from volseg.schema import Section
from volseg.system.json_files import JsonFile

Networks = tuple[str, ...]
"""SHA-256 of the weights of a run's networks: one, or one a fold."""


class WeightedRun(Section):
    """A run of an ensemble, its networks, and its weight."""

    run: str
    networks: Networks
    weight: PositiveFloat


class TunedEnsemble(Section):
    """The weights of runs that predict together, and in a sentence by what they were found."""

    runs: tuple[WeightedRun, ...]
    found: str

    def is_of(self, networks: Sequence[Networks]) -> bool:
        """Whether these are the networks of its runs, in any order."""
        return {frozenset(run.networks) for run in self.runs} == set(map(frozenset, networks))

    def is_named_as(self, names: Sequence[str]) -> bool:
        """Whether its runs have these names, in any order, whatever their networks are now."""
        return {run.run for run in self.runs} == {*names}

    def weights_of(self, networks: Sequence[Networks]) -> tuple[float, ...]:
        """The weights of runs with these networks."""
        known = {frozenset(run.networks): run.weight for run in self.runs}
        return tuple(known[frozenset(own)] for own in networks)


class EnsemblesFile(JsonFile):
    """The content of `ensembles.json`."""

    file: ClassVar[str] = ENSEMBLES
    again: ClassVar[str] = "remove it, or make it anew with `volseg tune --run A --run B`"
    ensembles: tuple[TunedEnsemble, ...]


def keep_tuned_ensemble(
    folders: Sequence[Path], networks: Sequence[Networks], tuned: TunedEnsemble | None
) -> None:
    """Write what was found for these runs into the first folder, and remove what was found for them before.

    None: they are to count alike.
    """
    for number, folder in enumerate(folders):
        file = EnsemblesFile.read(folder)
        old = file.ensembles if file else ()
        kept = tuple(one for one in old if not one.is_of(networks))
        new = (*kept, tuned) if tuned and not number else kept
        if new:
            EnsemblesFile(ensembles=new).write(folder)
        elif file:
            (folder / ENSEMBLES).unlink()
