import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from tests import tiny
from volseg.arguments import ExportArguments, InferArguments, TrainArguments
from volseg.calibration.calibrate import build_calibration_file, calibrate
from volseg.calibration.class_outcomes import ClassOutcome, labelled_slices
from volseg.calibration.left_out import spearman_correlation
from volseg.calibration.tables import calibration_notes, calibration_table
from volseg.config.sections import Data
from volseg.data.dataset import Dataset
from volseg.data.preprocessing.grid import NetworkGrid
from volseg.errors import UserError
from volseg.export.export import export
from volseg.inference import tables
from volseg.inference.confidence.calibration_file import CalibrationFile, KnownClasses
from volseg.inference.confidence.mask_features import MaskFeatures
from volseg.inference.confidence.probability_histogram import LEVELS
from volseg.inference.confidence.temperature_scaling import (
    TemperatureScaling,
    expected_calibration_error,
    fit_calibration,
    reliability_bins,
)
from volseg.inference.ensemble import Ensemble
from volseg.inference.infer import infer
from volseg.inference.prediction_folder import load_predictions
from volseg.runs.config_files import write_config
from volseg.runs.folds import FinishedFolds, FoldOutcome
from volseg.runs.package import open_run
from volseg.runs.run import Run
from volseg.runs.run_files import CALIBRATION
from volseg.training.train import train

TORCH = InferArguments(engine="torch")


def of_run(run: Run) -> CalibrationFile | None:
    return CalibrationFile.find_for_run(run.folder, run.weights_digest)[0]


LOOK = MaskFeatures(volume_ml=10.0, border_mm2=500.0, parts=1, intensity=0.5, cut=())


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "tiny"))


def outcome(case: int, temperature: float, quality: float) -> ClassOutcome:
    """A scan whose logits are `temperature` times the right ones; its mask is where p >= 1/2.

    The better the quality, the fewer voxels of a level in the middle.
    """
    rng = np.random.default_rng(case)
    levels = np.arange(LEVELS)
    logits = np.log(levels[1:-1] / (255 - levels[1:-1])) / temperature
    voxels = np.full(LEVELS, round(200 / quality))
    voxels[-1] = 20_000
    inside = np.zeros(LEVELS, np.int64)
    inside[1:-1] = rng.binomial(voxels[1:-1], 1 / (1 + np.exp(-logits)))
    inside[-1] = voxels[-1]
    mask = np.where(levels >= 128, [[0], [1]], [[1], [0]]) * voxels
    shared = inside[128:].sum()
    return ClassOutcome(
        scan=f"case{case}_day0",
        case=f"case{case}",
        class_name="stomach",
        dice=float(2 * shared / (mask[1].sum() + inside.sum())),
        features=LOOK,
        voxel_mm3=6.75,
        label_counts=np.stack([voxels - inside, inside]),
        mask_counts=mask,
    )


OUTCOMES = [outcome(n, 2.0, quality) for n, quality in enumerate((0.5, 1, 2, 4, 8, 16))]


def test_calibration_brings_confidence_to_the_true_dice() -> None:
    found = build_calibration_file(
        OUTCOMES, {"stomach": {"case9_day0": LOOK}}, ("hash",), cases={"case9_day0": "case9"}
    )

    organ = found.organs["stomach"]
    assert organ.calibration.temperature == pytest.approx(2, rel=0.05)
    assert organ.after.dice_error is not None
    assert organ.before.dice_error is not None
    assert organ.after.dice_error < 0.01 < organ.before.dice_error
    assert organ.after.bias == pytest.approx(0, abs=0.01)
    assert (organ.after.ece or 0) < 0.02 < (organ.before.ece or 0)
    assert organ.before.spearman == organ.after.spearman == pytest.approx(1)
    assert (found.scans, found.cases) == (6, 6)


def test_figures_after_calibration_have_no_part_of_the_case_s_own() -> None:
    """By hand: two cases of two days, off in opposite directions, each by what fits the other's days."""
    one, other = (
        [replace(outcome(number, temperature, 1), case=case) for number in numbers]
        for case, temperature, numbers in (("one", 2.0, (1, 2)), ("other", 0.5, (3, 4)))
    )
    fits = [fit_calibration(np.sum([of.label_counts for of in days], axis=0)) for days in (one, other)]

    def error(*calibrated: tuple[list[ClassOutcome], TemperatureScaling]) -> float:
        bins = [
            reliability_bins(of.label_counts, by.level_probabilities)
            for days, by in calibrated
            for of in days
        ]
        return expected_calibration_error(np.sum(bins, axis=0))

    found = build_calibration_file([*one, *other], {"stomach": {}}, (), cases={}).organs["stomach"].after

    assert found.ece == pytest.approx(error((one, fits[1]), (other, fits[0])), abs=1e-5)
    assert found.ece > 5 * error((one, fits[0]), (other, fits[1]))


def test_ranks_correlate_as_in_scipy() -> None:
    rng = np.random.default_rng(0)
    told, true = rng.integers(0, 9, 40) / 9, rng.random(40)

    assert spearman_correlation(told, true) == pytest.approx(spearmanr(told, true).statistic)
    # ranks 1, 2.5, 2.5, 4 and 1, 3, 2, 4: covariance 4.5, variances 4.5 and 5
    by_hand = spearman_correlation(np.array([0.1, 0.2, 0.2, 0.9]), np.array([0.3, 0.5, 0.4, 0.8]))
    assert by_hand == pytest.approx(4.5 / np.sqrt(4.5 * 5))
    assert np.isnan(spearman_correlation(told[:2], true[:2]))
    assert np.isnan(spearman_correlation(np.ones(5), true[:5]))


@pytest.mark.slow
def test_what_is_usual_is_that_of_the_training_labels(run: Path, data: Path) -> None:
    _, found = calibrate(str(run), data, TORCH)

    dataset, facts = Dataset.load(data), Run.open(run).facts
    sample = dataset.select_samples(facts.train[0])[0]
    usual = found.organs["stomach"].usual
    volume = dataset.label(sample, "stomach").sum() * 6.75 / 1000
    assert set(usual.volume_ml) == set(facts.train)
    assert usual.volume_ml[sample.name] == pytest.approx(volume, abs=1e-3)
    assert usual.most_parts == 1
    assert (found.scans, found.cases) == (
        len(facts.unseen_cases) + len(facts.later_days),
        len({name.split("_")[0] for name in (*facts.unseen_cases, *facts.later_days)}),
    )
    assert calibration_table(found).row_count == 3
    assert any("too few cases to know the range" in note for note in calibration_notes(found))


@pytest.mark.slow
def test_infer_tells_a_confidence_for_each_organ(run: Path, data: Path, tmp_path: Path) -> None:
    wanted = replace(TORCH, run=(str(run),), data=data, out=tmp_path / "out", case=("case3",))

    plain = infer(wanted).records
    again = infer(wanted).records
    calibrate(str(run), data, TORCH)
    scaled = infer(wanted).records

    assert [r.confidence for r in plain] == [r.confidence for r in again]
    assert [r.check for r in plain] == [r.check for r in again]
    for record in plain:
        assert set(record.confidence) == set(tiny.CLASSES)
        assert not any(told.calibrated for told in record.confidence.values())
    assert all(told.calibrated for r in scaled for told in r.confidence.values())
    assert plain[0].key != scaled[0].key
    assert load_predictions(tmp_path / "out")[0].confidence == scaled[0].confidence
    assert list(tables.confidence_notes(plain)) == [tables.NOT_CALIBRATED]
    assert tables.NOT_CALIBRATED not in tables.confidence_notes(scaled)
    assert all(told.error is not None or told.doubt for r in scaled for told in r.confidence.values())


@pytest.mark.slow
def test_a_calibration_holds_for_its_weights_only(run: Path, data: Path) -> None:
    path, found = calibrate(str(run), data, TORCH)
    opened = Run.open(run)

    assert of_run(opened) == found == CalibrationFile.read(run)
    found.model_copy(update={"weights": ("others",)}).write(run)
    assert of_run(opened) is None
    path.write_text("{}")
    nothing, problem = CalibrationFile.find_for_run(opened.folder, opened.weights_digest)
    assert nothing is None
    assert re.search(f"{CALIBRATION}: .*volseg calibrate", problem)


@pytest.mark.slow
def test_a_calibration_by_an_earlier_version_is_read_and_told(run: Path, data: Path, tmp_path: Path) -> None:
    path, found = calibrate(str(run), data, TORCH)
    values = json.loads(path.read_text())
    for organ in values["organs"].values():
        del organ["estimate"]
        for side in ("before", "after"):
            organ[side] = {name: organ[side][name] for name in ("spearman", "dice_error", "ece")}
    path.write_text(json.dumps(values))

    known = KnownClasses.of_ensemble(Ensemble.open((str(run),)), views=1)

    assert "made by an earlier version: not calibrated; run `volseg calibrate` again" in known.problem
    assert known.calibration_of("stomach") is None
    usual = found.organs["stomach"].usual
    assert known.usual_ranges("stomach") == usual.model_copy(update={"border_mm": None})


@pytest.mark.slow
def test_other_views_than_it_was_found_for_are_not_calibrated(run: Path, data: Path, tmp_path: Path) -> None:
    write_config(run, tiny.config(augment={"flip": ["x"]}))
    calibrate(str(run), data, TORCH)
    wanted = replace(TORCH, run=(str(run),), data=data, out=tmp_path / "out", case=("case3_day1",))

    plain, mirrored, again = (infer(replace(wanted, tta=tta)) for tta in (None, "flips", None))

    assert [told.calibrated for told in plain.records[0].confidence.values()] == [True, True]
    assert [told.calibrated for told in mirrored.records[0].confidence.values()] == [False, False]
    assert not any("not calibrated" in note for note in plain.notes)
    assert any("these are by one network and the mean of" in note for note in mirrored.notes)
    assert again.records[0].confidence == plain.records[0].confidence

    both, _ = calibrate(str(run), data, replace(TORCH, tta="flips"))
    assert all(one.calibrated for one in infer(replace(wanted, tta="flips")).records[0].confidence.values())
    values = json.loads(both.read_text())
    del values["networks"], values["views"]  # as earlier versions wrote it, for the views of the config
    both.write_text(json.dumps(values))
    assert all(one.calibrated for one in infer(wanted).records[0].confidence.values())


@pytest.mark.slow
@pytest.mark.parametrize("text", ["{", '{"scale": 1.25, "unit": "mm"}', "[1, 2]"])
def test_a_foreign_calibration_beside_a_run_is_told_and_stops_nothing(
    run: Path, data: Path, tmp_path: Path, text: str
) -> None:
    (run / CALIBRATION).write_text(text)

    done = infer(replace(TORCH, run=(str(run),), data=data, out=tmp_path / "out", case=("case3_day1",)))

    assert [one.status for one in done.records] == ["done"]
    assert not any(told.calibrated for told in done.records[0].confidence.values())
    assert any(str(run / CALIBRATION) in note and "not calibrated" in note for note in done.notes)


@pytest.mark.slow
def test_folds_are_calibrated_together_for_each_and_for_all(run: Path, data: Path, tmp_path: Path) -> None:
    """Each on the scans that are new to it; the second fold stands for the rest."""
    five = tmp_path / "five"
    other = train(tiny.config(), TrainArguments(data=data, run=five / "fold1", fold=1)).run
    shutil.copytree(run, five / "fold0")
    ended = FoldOutcome(steps=1, best=None, seconds=1, max_seconds=None)
    FinishedFolds(finished={"fold0": ended, "fold1": ended}).write(five)

    path, found = calibrate(str(five), data, TORCH)

    assert path.parent == five
    facts = Run.open(five / "fold0").facts, Run.open(other).facts
    validated = {name for one in facts for name in (*one.unseen_cases, *one.later_days)}
    assert found.scans == len(validated)
    known, of_fold, other_run = (
        KnownClasses.of_ensemble(Ensemble.open(names), views=1)
        for names in ((str(five),), (str(five / "fold1"),), (str(five / "fold1"), str(run)))
    )
    own = found.organs["stomach"]
    assert of_fold.calibration_of("stomach") == own
    assert of_fold.usual_ranges("stomach") == own.usual
    assert known.calibration_of("stomach") is None  # it was found for one network
    assert "by one network and one view, these are by the mean of 2 networks" in known.problem
    assert known.usual_ranges("stomach") == own.usual.model_copy(update={"border_mm": None})
    assert (other_run.calibration_of("stomach"), other_run.usual_ranges("stomach")) == (None, None)
    options = ExportArguments("torch", out=tmp_path / "package", data=data, with_training_scans=True)
    package = export(str(five / "fold1"), options).folder
    assert KnownClasses.of_ensemble(Ensemble.open((str(package),)), views=1) == of_fold
    assert json.loads(path.read_text())["weights"] == [
        Run.open(five / "fold0").weights_digest,
        Run.open(other).weights_digest,
    ]


@pytest.mark.slow
def test_a_run_without_validation_scans_is_refused(data: Path, tmp_path: Path) -> None:
    config = tiny.config(train={"steps": 2}, data={"split": "none"})
    run = train(config, TrainArguments(data=data, run=tmp_path / "all")).run

    with pytest.raises(UserError, match=r"no labelled validation scan .*data\.split=folds"):
        calibrate(str(run), data, TORCH)


@pytest.mark.slow
def test_a_package_takes_the_calibration_along(run: Path, data: Path, tmp_path: Path) -> None:
    _, found = calibrate(str(run), data, TORCH)

    folder = export(str(run), ExportArguments("torch", out=tmp_path / "package", data=data)).folder

    assert of_run(open_run(folder)) == found.without_scans
    with pytest.raises(UserError, match="is a package; calibrate the run it was made from, tiny"):
        calibrate(str(folder), data, TORCH)
    (folder / CALIBRATION).write_text("{}")
    with pytest.raises(UserError, match="damaged or changed"):
        open_run(folder)


@pytest.mark.parametrize(("below_cut", "last"), [("ignore", 5), ("background", 9)])
def test_below_the_cut_labels_are_believed_as_far_as_the_loss_believed_them(
    tmp_path: Path, below_cut: str, last: int
) -> None:
    dataset = tiny.write(tmp_path / "data", cases=1, days=1)
    sample = dataset.samples[0]
    labels = dataset.labels(sample)
    assert int(np.flatnonzero(labels.any(axis=(0, 1, 2)))[-1]) == 5
    grid = NetworkGrid.from_volume(dataset.image(sample), None)

    ends = labelled_slices(dataset, sample, grid, Data(below_cut=below_cut))

    assert list(range(10))[ends][-1] == last
