"""The runs that predict, opened as a command names them: with their weights and their gate."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from volseg.config.sections import Gate
from volseg.errors import UserError
from volseg.inference.ensemble import Ensemble, OpenedGate
from volseg.inference.prediction_record import GateRecord
from volseg.runs.ensemble_weights import EnsemblesFile
from volseg.runs.locate import run_label, split_weight

NONE = "none"
"""What `--gate` is given to leave a run's own gate out."""


def open_gated(names: Sequence[str], gate: str | None) -> Ensemble:
    """The runs of these names, with the gate of this name or, without one, that of the first run's config.

    Several runs without weights have those that `volseg tune` found for them, if it did.

    Raises:
        UserError: runs that can't be averaged, no such gate, or one of other channels or that lacks a class.
    """
    ensemble = _with_tuned_weights(Ensemble.open(names))
    settings = _gate_settings(ensemble, gate)
    if settings is None:
        return ensemble
    place = f"{ensemble.runs[0].folder}: inference.gate" if gate is None else "--gate"
    try:
        opened = _open_gate(settings.run)
    except UserError as error:
        raise UserError(f"{place}: {error}; --gate {NONE} predicts without a gate") from error
    if problems := "; ".join(_mismatches(ensemble, opened)):
        raise UserError(f"{place} {settings.run}: can't gate {ensemble}: {problems}; name another run")
    return replace(ensemble, gate=OpenedGate(opened, settings))


def _open_gate(name: str) -> Ensemble:
    if split_weight(name)[1] is not None:
        raise UserError(f"{name}: a gate has no weight; leave it out")
    return Ensemble.open((name,))


def _with_tuned_weights(ensemble: Ensemble) -> Ensemble:
    """Runs to which nobody gave weights, by those that `volseg tune` found for just these networks."""
    files = [file for file in map(EnsemblesFile.read, ensemble.folders) if file]
    if ensemble.weights or len(ensemble.folders) < 2 or not files:
        return ensemble
    networks = [tuple(run.weights_digest for run in ensemble.runs_of(one)) for one in ensemble.folders]
    known = [one for file in files for one in file.ensembles]
    if tuned := next((one for one in known if one.is_of(networks)), None):
        return ensemble.with_weights(tuned.weights_of(networks), tuned.found)
    labels = [run_label(folder) for folder in ensemble.folders]
    return replace(ensemble, trained_since_tuned=any(one.is_named_as(labels) for one in known))


def gate_record(gate: OpenedGate) -> GateRecord:
    """What the record of a scan says of its gate."""
    p, n = gate.settings.probability, gate.settings.pixels
    return GateRecord(run=gate.ensemble.name, weights=gate.ensemble.weights_digest, probability=p, pixels=n)


def _gate_settings(ensemble: Ensemble, gate: str | None) -> Gate | None:
    own = ensemble.runs[0].config.inference.gate
    if gate is None or gate == NONE:
        return None if gate else own
    return own.model_copy(update={"run": gate}) if own else Gate(run=gate)


def _mismatches(ensemble: Ensemble, gate: Ensemble) -> Iterator[str]:
    """What keeps a gate from judging an ensemble's classes, which it knows by their names."""
    wanted, has = ensemble.facts, gate.facts
    if lacking := [name for name in wanted.classes if name not in has.classes]:
        yield f"it lacks {', '.join(lacking)} (has {', '.join(has.classes)})"
    if wanted.channels != has.channels:
        yield f"it has the channels {', '.join(has.channels)} (there {', '.join(wanted.channels)})"
