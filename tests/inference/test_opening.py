import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import volseg
from tests import tiny
from volseg.arguments import ExportArguments, InferArguments
from volseg.data import volume_files
from volseg.errors import UserError
from volseg.export.export import export
from volseg.inference.ensemble import Ensemble
from volseg.inference.infer import infer
from volseg.inference.opening import open_gated
from volseg.inference.prediction_folder import read_record
from volseg.runs.run_files import CONFIG, SPLITS

pytestmark = pytest.mark.slow
SCAN = "case3_day1"


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A run, to be changed."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


@pytest.fixture
def gate(trained: Path, tmp_path: Path) -> Path:
    """The same network under another name, whose classes stand the other way round."""
    folder = Path(shutil.copytree(trained, tmp_path / "gate"))
    change(folder, classes=tiny.CLASSES[::-1])
    return folder


@pytest.fixture
def wanted(data: Path, run: Path, tmp_path: Path) -> InferArguments:
    return InferArguments(data=data, out=tmp_path / "out", case=(SCAN,), run=(str(run),))


def change(run: Path, **values: object) -> None:
    facts = json.loads((run / SPLITS).read_text())
    (run / SPLITS).write_text(json.dumps({**facts, **values}))


def configure(run: Path, *, gate: Path, probability: float = 0.6, pixels: int = 12) -> None:
    """Set a run's own gate."""
    text = (run / CONFIG).read_text()
    own = f"gate: {{run: '{gate}', probability: {probability}, pixels: {pixels}}}"
    assert "gate: null" in text
    (run / CONFIG).write_text(text.replace("gate: null", own))


def masks(out: Path) -> dict[str, np.ndarray]:
    return {name: volume_files.read(out / SCAN / f"{name}.nii.gz").voxels > 0 for name in tiny.CLASSES}


def test_a_gate_empties_slices_of_its_classes_by_name_and_the_record_says_so(
    run: Path, trained: Path, wanted: InferArguments, tmp_path: Path
) -> None:
    """The run gates itself by so many pixels that some of its slices have fewer."""
    plain = infer(wanted)
    before = masks(wanted.out)
    areas = {name: mask.sum(axis=(0, 1)) for name, mask in before.items()}
    pixels = int(max(area.max() for area in areas.values()))
    configure(run, gate=trained, probability=0.5, pixels=pixels)

    gated = infer(replace(wanted, out=tmp_path / "gated"))
    after = masks(tmp_path / "gated")
    kept = infer(replace(wanted, gate="none", out=tmp_path / "none"))

    for name in tiny.CLASSES:
        found = after[name].sum(axis=(0, 1))
        assert {int(one) for one in np.unique(found)} <= {0, *areas[name].tolist()}
        assert (found[areas[name] >= pixels] == areas[name][areas[name] >= pixels]).all()
    assert sum(map(np.sum, after.values())) < sum(map(np.sum, before.values()))
    record = read_record(tmp_path / "gated" / SCAN)
    assert record
    assert record.gate
    assert (record.gate.run, record.gate.probability, record.gate.pixels) == (trained.name, 0.5, pixels)
    assert record.gate.weights == Ensemble.open((str(trained),)).weights_digest
    assert {changes[-1].step for changes in record.changes.values()} == {"gate"}
    assert any(f"finds fewer than {pixels} pixels of at least 0.5" in note for note in gated.notes)
    assert plain.records[0].key == kept.records[0].key != record.key
    assert plain.records[0].gate is None
    assert all(np.array_equal(mask, before[name]) for name, mask in masks(tmp_path / "none").items())


def test_a_gate_of_0_pixels_leaves_masks_as_they_are(
    run: Path, gate: Path, wanted: InferArguments, tmp_path: Path
) -> None:
    infer(wanted)
    configure(run, gate=gate, pixels=0)

    infer(replace(wanted, out=tmp_path / "gated"))

    assert all(
        np.array_equal(mask, masks(wanted.out)[name]) for name, mask in masks(tmp_path / "gated").items()
    )


def test_the_python_api_gates_as_the_command_does(
    run: Path, gate: Path, data: Path, wanted: InferArguments
) -> None:
    configure(run, gate=gate, pixels=10**6)
    image = data / "images" / f"{SCAN}.nii.gz"

    own, none = volseg.predict(image, run), volseg.predict(image, run, gate="none")
    infer(replace(wanted, gate=str(gate)))  # the pixels of the run's own gate hold

    assert not any(mask.any() for mask in (*own.masks.values(), *masks(wanted.out).values()))
    assert all(mask.any() for mask in none.masks.values())


def test_what_a_gates_training_saw_counts_as_seen(run: Path, gate: Path, wanted: InferArguments) -> None:
    facts = json.loads((run / SPLITS).read_text())
    change(gate, train=[*facts["train"], SCAN], unseen_cases=[], later_days=[])
    change(run, train=[one for one in facts["train"] if not one.startswith("case3")])

    gated = open_gated(wanted.run, str(gate))
    notes = infer(replace(wanted, gate=str(gate))).notes

    scan = gate_identity(run)
    assert gated.set_of(scan) == "train"
    assert f"{SCAN}: was itself trained on by one or more of run and the gate gate" in notes
    assert gated.trained_on.seen_in_training(scan) == "scan"
    assert open_gated(wanted.run, "none").trained_on.seen_in_training(scan) != "scan"


def gate_identity(run: Path):
    return Ensemble.open((str(run),)).facts.identity_of(SCAN)


def test_a_gate_that_can_not_judge_is_refused_before_anything_is_written(
    run: Path, gate: Path, wanted: InferArguments
) -> None:
    change(gate, classes=["stomach", "pancreas"], channels=["ct"])

    with pytest.raises(UserError) as caught:
        infer(replace(wanted, gate=str(gate)))

    told = str(caught.value)
    assert f"--gate {gate}: can't gate {run}: it lacks large_bowel (has stomach, pancreas); " in told
    assert "it has the channels ct (there mr)" in told
    assert len(told.splitlines()) == 1
    assert not wanted.out.exists()


def test_a_gate_that_is_not_there_is_told_with_the_way_out(run: Path, wanted: InferArguments) -> None:
    configure(run, gate=Path("nowhere"))

    with pytest.raises(UserError, match=r"inference.gate: nowhere: no such run .*; --gate none predicts"):
        infer(wanted)


def test_a_weight_of_a_gate_is_refused_as_it_would_count_for_nothing(
    run: Path, gate: Path, wanted: InferArguments
) -> None:
    with pytest.raises(UserError, match=r"^--gate: .*=0\.5: a gate has no weight; leave it out; "):
        infer(replace(wanted, gate=f"{gate}=0.5"))


def test_a_gate_of_no_name_is_not_laid_to_the_config(run: Path, wanted: InferArguments) -> None:
    with pytest.raises(UserError, match=r"^--gate: "):
        infer(replace(wanted, gate=""))


def test_a_run_with_a_gate_is_no_package(run: Path, gate: Path) -> None:
    configure(run, gate=gate)

    with pytest.raises(UserError, match=r"has the gate .*, which a package can't hold; take it out of"):
        export(str(run), ExportArguments())


def test_a_gate_of_a_run_that_is_not_named_first_is_told_as_left_out(
    run: Path, gate: Path, trained: Path
) -> None:
    configure(run, gate=gate)
    told = f"{run}: its gate is not used, as it is not named first; --gate {gate} uses it"

    assert told in [*open_gated((str(trained), str(run)), None).notes()]
    assert told not in [*open_gated((str(trained), str(run)), str(gate)).notes()]
    assert told not in [*open_gated((str(run), str(trained)), None).notes()]
    assert told not in [*open_gated((str(run), str(trained)), "none").notes()]
