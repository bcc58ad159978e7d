import shutil
from pathlib import Path

import pytest
import yaml

from volseg.arguments import ExportArguments, InferArguments
from volseg.cli import run_command as command
from volseg.data.dataset import Dataset
from volseg.errors import UserError
from volseg.evaluation.evaluate import evaluate
from volseg.export.export import export
from volseg.inference.infer import infer
from volseg.metrics import kaggle_score
from volseg.postprocessing import FillHoles, Threshold
from volseg.runs.config_files import POSTPROCESS
from volseg.runs.folds import NAMES, FinishedFolds, FoldOutcome
from volseg.runs.package import open_run
from volseg.runs.run import Run
from volseg.runs.run_files import CALIBRATION, TUNE
from volseg.tuning.search_space import SEARCH_DIMENSIONS
from volseg.tuning.tables import closing_lines
from volseg.tuning.tune import tune
from volseg.tuning.tuning_file import TuningFile

pytestmark = pytest.mark.slow

TORCH = InferArguments(engine="torch")
TOO_HIGH = (Threshold(value=0.95),)


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A run that asks too much of its probabilities."""
    copy = Path(shutil.copytree(trained, tmp_path / "tiny"))
    Run.open(copy).replace_postprocess(TOO_HIGH)
    return copy


def scored(run: Path, data: Path, out: Path) -> float:
    """The competition's score of all scans that the run is validated on."""
    infer(InferArguments(run=(str(run),), data=data, out=out, split="unseen_cases", engine="torch"))
    return kaggle_score.score_scans(scan.part for scan in evaluate(out, data).scans).score


def test_infer_goes_by_what_was_found_and_its_masks_are_better(run, data, tmp_path) -> None:
    before = scored(run, data, tmp_path / "before")

    _, found = tune(str(run), data, how=TORCH)

    assert found.has_improvements
    assert found.gain.mean > 0
    steps = Run.open(run).config.postprocess
    assert steps != TOO_HIGH
    assert scored(run, data, tmp_path / "after") > before


def test_the_gain_and_its_scans_are_told_in_the_run(run, data) -> None:
    new, found = tune(str(run), data, how=TORCH)

    assert TuningFile.read(run) == found
    assert found.weights == (Run.open(run).weights_digest,)
    facts = Run.open(run).facts
    assert found.scans == found.cases == len(facts.unseen_cases) == len(new.scans) == 8
    assert [row.slot for row in found.rows if row.organ == "stomach"] == [s.name for s in SEARCH_DIMENSIONS]
    for organ in found.organs.values():
        assert organ.steps_before == ("threshold value=0.95",)
    header = (run / POSTPROCESS).read_text(encoding="utf-8")
    assert f"on {found.scans} scans of {found.cases} cases:" in header
    assert "stomach: threshold value=0.95 -> " in header
    assert f"of {found.after:.4f} instead of {found.before:.4f}" in header


def test_what_is_told_before_is_what_evaluate_tells(run, data, tmp_path) -> None:
    """Of the score as the competition takes it, with the steps in use."""
    expected = scored(run, data, tmp_path / "masks")

    _, found = tune(str(run), data, how=TORCH)

    assert found.before == pytest.approx(expected)


def test_too_short_a_time_leaves_the_run_as_it_was(run, data) -> None:
    before = {file.name: file.read_bytes() for file in run.iterdir() if file.is_file()}

    with pytest.raises(UserError, match="--max-time"):
        tune(str(run), data, max_seconds=1e-6, how=TORCH)

    assert {file.name: file.read_bytes() for file in run.iterdir() if file.is_file()} == before


def test_places_that_no_time_was_left_for_are_told(run, data, monkeypatch) -> None:
    from volseg.tuning import trials

    tried, original = [], trials.TrialRunner.score_pipelines

    def first_only(self, wanted, what):
        tried.append(what)
        return original(self, wanted, what) if len(tried) == 1 else None

    monkeypatch.setattr(trials.TrialRunner, "score_pipelines", first_only)

    new, found = tune(str(run), data, goal="dice", how=TORCH)

    assert found.untried == tuple(slot.name for slot in SEARCH_DIMENSIONS[1:])
    assert {row.slot for row in found.rows} == {SEARCH_DIMENSIONS[0].name}
    assert f"no time was left to try {', '.join(found.untried)}" in next(closing_lines(new, found))


def test_few_cases_change_nothing_and_few_more_promise_nothing(run, data) -> None:
    opened = Run.open(run)
    for cases, changes in ((4, False), (7, True)):
        facts = opened.facts.model_copy(update={"unseen_cases": opened.facts.unseen_cases[:cases]})
        Run.create(run, opened.config, facts)

        new, found = tune(str(run), data, goal="dice", how=TORCH)

        assert found.has_improvements is changes
        told = "\n".join(closing_lines(new, found))
        assert f"{cases} cases are too few to promise new cases anything" in told
        assert ("too few to show that a step helps; 5 are needed" in told) is not changes
        assert not found.gain.estimate.has_interval


def test_where_nothing_helps_the_steps_stay_and_it_is_said(run, data) -> None:
    """The labels are the masks that the run makes: no other step can be better."""
    perfect = Path(shutil.copytree(data, run.parent / "perfect"))
    Run.open(run).replace_postprocess((Threshold(), FillHoles()))
    masks = run.parent / "masks"
    infer(InferArguments(run=(str(run),), data=data, out=masks, split="unseen_cases", engine="torch"))
    for sample in Dataset.load(data).samples:
        for name, label in (sample.labels or {}).items():
            if (masks / sample.name).is_dir():
                shutil.copy(masks / sample.name / f"{name}.nii.gz", perfect / label)
    before = (run / POSTPROCESS).read_bytes()

    new, found = tune(str(run), perfect, how=TORCH)

    said = list(closing_lines(new, found))
    assert found.before == pytest.approx(1)
    assert not found.has_improvements
    assert found.gain.mean == 0
    assert TuningFile.read(run) == found
    assert said[0].startswith(
        "Nothing helped by more than its spread over 8 cases: the steps stay as they were"
    )
    assert said[-1] == f"nothing helps: {run / POSTPROCESS} stays as it was"
    assert (run / POSTPROCESS).read_bytes() == before


def test_ctrl_c_leaves_the_run_as_it_was(run, data, monkeypatch) -> None:
    from volseg.tuning import nested_cross_validation

    before = {file.name: file.read_bytes() for file in run.iterdir() if file.is_file()}

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(nested_cross_validation.ClassSearch, "choose", stop)
    with pytest.raises(KeyboardInterrupt):
        tune(str(run), data, how=TORCH)

    assert {file.name: file.read_bytes() for file in run.iterdir() if file.is_file()} == before


def test_a_run_of_five_is_tuned_as_one_and_all_its_folds_go_by_it(trained, data, tmp_path) -> None:
    five = tmp_path / "five"
    for number, name in enumerate(NAMES):
        shutil.copytree(trained, five / name)
        run = Run.open(five / name)
        samples = Dataset.load(data).samples
        unseen = tuple(one.name for one in samples[number::5])
        others = tuple(one.name for one in samples if one.name not in unseen)
        facts = run.facts.model_copy(
            update={"fold": number, "train": others, "unseen_cases": unseen, "later_days": ()}
        )
        Run.create(five / name, run.config, facts).replace_postprocess(TOO_HIGH)
    ended = FoldOutcome(steps=1, best=0.5, seconds=1.0, max_seconds=None)
    FinishedFolds(finished=dict.fromkeys(NAMES, ended)).write(five)

    new, found = tune(str(five), data, goal="dice", how=TORCH)

    assert (found.scans, found.cases) == (40, 40)
    assert found.gain.low > 0
    assert TuningFile.read(five) == found
    assert not (five / NAMES[0] / TUNE).exists()
    assert found.has_improvements
    assert len({(five / name / POSTPROCESS).read_bytes() for name in NAMES}) == 1
    assert [run.folder.name for run, _ in new.scans] == [n for n in NAMES for _ in range(8)]


def test_a_run_that_was_validated_on_too_few_cases_is_refused(run, data, monkeypatch) -> None:
    opened = Run.open(run)
    facts = opened.facts.model_copy(update={"unseen_cases": opened.facts.unseen_cases[:2]})
    Run.create(run, opened.config, facts)

    with pytest.raises(UserError, match=r"validated on scans of \d cases?; .* 3 at least, and 8"):
        tune(str(run), data, how=TORCH)


def test_a_package_is_refused_and_takes_the_tuned_steps_along(run, data, tmp_path) -> None:
    package = export(str(run), ExportArguments(out=tmp_path / "package", format="torch", data=data)).folder
    with pytest.raises(UserError, match="is a package; tune the run"):
        tune(str(package), data, how=TORCH)
    assert open_run(package).config.postprocess == TOO_HIGH


def test_a_calibration_of_other_masks_is_told(run, data) -> None:
    (run / CALIBRATION).write_text("{}")

    _, found = tune(str(run), data, goal="dice", how=TORCH)

    assert any("volseg calibrate" in note for note in found.notes)


def test_the_command_prints_the_table_and_where_the_steps_are(run, data, capsys) -> None:
    assert command(["tune", str(run), "--data", str(data), "--score", "dice"]) == 0

    out = capsys.readouterr().out
    assert "threshold value=0.95 -> " in out
    assert f"{run / POSTPROCESS}: `volseg infer` goes by it from now on" in out
    assert "The tuned steps are better: new cases can expect a mean Dice of " in out
    assert yaml.safe_load((run / POSTPROCESS).read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("words", "expected"),
    [(["--score", "hd"], "kaggle"), (["--max-time", "soon"], "expected e.g. 90s, 30m or 2h")],
)
def test_wrong_words_are_refused(run, data, capsys, words, expected) -> None:
    assert command(["tune", str(run), "--data", str(data), *words]) != 0

    assert expected in capsys.readouterr().err
