import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from volseg.arguments import InferArguments
from volseg.cli import run_command as command
from volseg.errors import UserError
from volseg.evaluation.bootstrap import Estimate
from volseg.evaluation.evaluate import evaluate
from volseg.inference.ensemble import Ensemble
from volseg.inference.infer import infer
from volseg.inference.opening import open_gated
from volseg.metrics import kaggle_score
from volseg.runs.ensemble_weights import EnsemblesFile, TunedEnsemble, WeightedRun, keep_tuned_ensemble
from volseg.runs.run import Run
from volseg.runs.run_files import BEST, ENSEMBLES
from volseg.tuning.tune_weights import TunedWeights, tune_weights
from volseg.tuning.weight_tables import weights_lines

pytestmark = pytest.mark.slow
TORCH = InferArguments(engine="torch")


@pytest.fixture
def good(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "good"))


@pytest.fixture
def poor(trained: Path, tmp_path: Path) -> Path:
    """The same run, its weights shaken."""
    folder = Path(shutil.copytree(trained, tmp_path / "poor"))
    rng = np.random.default_rng(1)
    weights = load_file(folder / BEST)
    shaken = {
        name: (one * rng.normal(1, 1.5, one.shape)).astype(one.dtype) if one.ndim > 1 else one
        for name, one in weights.items()
    }
    save_file(shaken, folder / BEST)
    return folder


def networks(*folders: Path) -> list[tuple[str, ...]]:
    return [(Run.open(folder).weights_digest,) for folder in folders]


def ensemble(*folders: Path, weights: tuple[float, ...]) -> TunedEnsemble:
    runs = zip(folders, networks(*folders), weights, strict=True)
    return TunedEnsemble(
        runs=tuple(WeightedRun(run=folder.name, networks=own, weight=one) for folder, own, one in runs),
        found="found by hand",
    )


def test_a_run_that_spoils_the_mean_is_told_to_be_left_out(good: Path, poor: Path, data: Path) -> None:
    keep_tuned_ensemble((good, poor), networks(good, poor), ensemble(good, poor, weights=(0.5, 0.5)))

    found = tune_weights((str(good), str(poor)), data, goal="dice", how=TORCH)

    assert (found.scans, found.cases) == (8, 8)
    assert found.scores[1.0, 0.0] > found.scores[0.5, 0.5] > found.scores[0.0, 1.0]
    assert found.shares[0] > 0.5
    assert found.gain.low > 0
    told = "\n".join(weights_lines(found))
    if found.left_out:
        assert (
            f"better without {poor}; nothing is written: predict by `volseg infer --run {good}=1 ...`" in told
        )
        assert not (good / ENSEMBLES).exists()
    else:
        assert open_gated((str(good), str(poor)), None).shares == pytest.approx(found.shares)


def test_the_scores_told_are_those_of_what_infer_predicts(
    good: Path, poor: Path, data: Path, tmp_path: Path
) -> None:
    """Of the single run and of equal weights, by the score that the competition takes."""
    found = tune_weights((str(good), str(poor)), data, goal="kaggle", how=TORCH)

    for runs, shares in (((good,), (1.0, 0.0)), ((good, poor), (0.5, 0.5))):
        out = tmp_path / f"{len(runs)}"
        names = tuple(f"{run}=1" for run in runs)
        infer(replace(TORCH, run=names, data=data, out=out, split="unseen_cases"))
        expected = kaggle_score.score_scans(scan.part for scan in evaluate(out, data).scans).score
        assert found.scores[shares] == pytest.approx(expected, abs=2e-3)


def test_infer_goes_by_the_weights_in_whatever_order_the_runs_are_named(
    good: Path, poor: Path, trained: Path, data: Path, tmp_path: Path
) -> None:
    keep_tuned_ensemble((good, poor), networks(good, poor), ensemble(good, poor, weights=(0.8, 0.2)))
    wanted = replace(TORCH, data=data, case=("case1",))

    found = infer(replace(wanted, run=(str(poor), str(good)), out=tmp_path / "out"))

    assert found.records[0].run_weights == {str(poor): 0.2, str(good): 0.8}
    (note,) = [note for note in found.notes if "found by hand" in note]
    assert note.endswith("found by hand; by --run poor=1 --run good=1 they would count alike")
    assert open_gated((f"{good}=1", f"{poor}=1"), None).shares == (0.5, 0.5)
    assert open_gated((str(good),), None).weights == ()
    assert Ensemble.open((str(good), str(poor))).weights == ()
    assert not any("find them anew" in note for note in found.notes)
    shutil.copy(trained / BEST, poor / BEST)  # other networks, for which nothing was found
    again = open_gated((str(good), str(poor)), None)
    assert again.weights == ()
    (told,) = again.notes()
    assert told.endswith("so all count alike; find them anew with `volseg tune --run good --run poor`")


def test_what_was_found_for_other_runs_stays_and_a_new_find_takes_the_place_of_an_old_one(
    good: Path, poor: Path, data: Path
) -> None:
    third = [("0" * 64,)]
    other = ensemble(good, poor, weights=(0.6, 0.4))
    runs = tuple(
        one.model_copy(update={"networks": third[0]}) if n else one for n, one in enumerate(other.runs)
    )
    other = other.model_copy(update={"runs": runs})
    EnsemblesFile(ensembles=(other,)).write(good)
    both = networks(good, poor)

    keep_tuned_ensemble((good, poor), both, ensemble(good, poor, weights=(0.8, 0.2)))
    keep_tuned_ensemble((poor, good), both[::-1], ensemble(poor, good, weights=(0.3, 0.7)))

    assert EnsemblesFile.read(good).ensembles == (other,)
    assert [one.weights_of(both) for one in EnsemblesFile.read(poor).ensembles] == [(0.7, 0.3)]
    keep_tuned_ensemble((poor, good), both[::-1], None)
    assert not (poor / ENSEMBLES).exists()


def test_wrong_calls_are_told_in_a_line(good: Path, poor: Path, data: Path) -> None:
    with pytest.raises(UserError, match=r"--run .*=2: tune finds the weights itself; leave the weight out"):
        tune_weights((str(good), f"{poor}=2"), data)
    with pytest.raises(UserError, match="named twice"):
        tune_weights((str(good), str(good)), data)
    assert command(["tune", str(good), "--run", str(poor), "--data", str(data)]) == 1


def weighted(shares: tuple[float, float], cases: int = 8) -> TunedWeights:
    return TunedWeights(
        folders=(Path("runs/a"), Path("runs/b")),
        shares=shares,
        goal="dice",
        scans=9,
        cases=cases,
        before=0.8,
        after=0.81,
        gain=Estimate(0.01, 0.005, 0.015, cases),
        scores={},
    )


def test_the_closing_lines_say_where_infer_finds_the_weights() -> None:
    changed, alike = ("\n".join(weights_lines(weighted(one))) for one in ((0.6, 0.4), (0.5, 0.5)))

    assert "on 9 scans of 8 cases: new cases can expect a mean Dice of 0.8100 instead of 0.8000" in changed
    assert "runs/a/ensembles.json: `volseg infer --run runs/a --run runs/b ...` goes by it" in changed
    assert "no weights are better than equal ones" in alike
    assert ENSEMBLES not in alike


def test_of_few_cases_nothing_is_promised_and_a_run_alone_is_named_without_a_weight() -> None:
    told = "\n".join(weights_lines(weighted((1, 0), cases=7)))

    assert "7 cases are too few to promise new cases anything" in told
    assert "can expect" not in told
    assert "better without runs/b; nothing is written: predict by `volseg infer --run runs/a ...`" in told
