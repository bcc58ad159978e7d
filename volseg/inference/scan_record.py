"""What the record of a scan says, but for its masks: the scan, what predicts it, and what that has seen."""

from datetime import UTC, datetime
from typing import Any

from volseg.cohort.place import this_place
from volseg.data.image_identity import ScanIdentity
from volseg.inference.ensemble import Ensemble
from volseg.inference.opening import gate_record
from volseg.inference.prediction_record import Computation, PredictionRecord
from volseg.inference.scan_sources import ScanSource
from volseg.runs.config_files import step_lines


def scan_record(
    source: ScanSource, identity: ScanIdentity, ensemble: Ensemble, **fields: Any
) -> PredictionRecord:
    """The record of a scan by an ensemble, with these fields."""
    trained_on = ensemble.trained_on.for_dataset((*source.beside, identity))
    return PredictionRecord(
        scan=source.name,
        case=source.case,
        day=source.day,
        source=source.origin,
        image_hash=identity.image,
        run=ensemble.name,
        weights=ensemble.weights_digest,
        run_weights=ensemble.weight_by_network,
        gate=ensemble.gate and gate_record(ensemble.gate),
        classes=ensemble.facts.classes,
        fold_set=ensemble.set_of(identity),
        seen=trained_on.seen_in_training(identity),
        chose_weights=trained_on.chose_weights(identity),
        unknown_weights=trained_on.unknown,
        steps=tuple(step_lines(ensemble.runs[0].config.postprocess)),
        **fields,
    )


def computed_now(*, loads: int = 0, attempts: int = 1, memory_budget: int = 0) -> Computation:
    """What a record says of a computation that ends here and now."""
    host, process = this_place()
    finished = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Computation(
        host=host,
        process=process,
        loads=loads,
        attempts=attempts,
        memory_budget=memory_budget,
        finished=finished,
    )


def claim_of(computed: Computation) -> tuple[str, str, int]:
    """Whose computation it is: no other attempt at the scan has the same."""
    return computed.host, computed.process, computed.attempts
