"""Laws of `train.teacher`: what may teach, what it teaches, and that nothing else changes."""

import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests import tiny
from tests.training.patches import CPU
from tests.training.teachers import noise, teach
from volseg.arguments import InferArguments, TrainArguments
from volseg.arrays import IGNORE
from volseg.config.config import Config, validate_values
from volseg.config.sections import Augment, Data
from volseg.data.dataset import Dataset, Sample
from volseg.data.volume import Volume
from volseg.data.volume_files import write_volume
from volseg.errors import UserError
from volseg.inference.infer import infer
from volseg.inference.prediction_folder import PROBABILITY, RECORD, read_record, write_record
from volseg.model.losses import DiceCE
from volseg.runs.run import Run
from volseg.runs.run_files import BEST
from volseg.training.augmentation.pipeline import build_augmentation
from volseg.training.loading.load_scan import LoadScan
from volseg.training.loading.loader import TrainingPatches, load_batches
from volseg.training.loading.scan_cache import ScanCache, cache_key, packed_bytes
from volseg.training.loading.teacher_maps import TeacherMaps
from volseg.training.train import build_training, cached_patches, load_and_split, train

UNLABELLED = ("case7_day0", "case8_day0")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Dataset:
    """Six cases of one labelled day, and two without labels."""
    whole = tiny.write(tmp_path_factory.mktemp("teacher") / "data", cases=8, days=1)
    samples = tuple(
        one.model_copy(update={"labels": None}) if one.name in UNLABELLED else one for one in whole.samples
    )
    made = Dataset(whole.folder, whole.facts.model_copy(update={"samples": samples}))
    made.save()
    return made


def labels_of(dataset: Dataset) -> Callable[[Sample], np.ndarray]:
    """An opinion that repeats the labels, also of scans that have lost theirs."""

    def of(sample: Sample) -> np.ndarray:
        files = (dataset.folder / f"labels/{sample.name}/{name}.nii.gz" for name in dataset.classes)
        return np.stack([dataset.image(sample).with_voxels(_read(file)).voxels for file in files]) * 255

    return of


def _read(path: Path) -> np.ndarray:
    from volseg.data import volume_files

    return volume_files.read(path).voxels


@pytest.fixture(scope="module")
def right(dataset: Dataset, tmp_path_factory) -> Path:
    """A teacher that repeats the labels of all scans."""
    return teach(dataset, tmp_path_factory.mktemp("right"), labels_of(dataset))


@pytest.fixture
def folder(right: Path, tmp_path: Path) -> Path:
    """A copy of the right teacher that a test may spoil."""
    return shutil.copytree(right, tmp_path / "maps")


def config(teacher: Path | None, data: dict | None = None, **settings: object) -> Config:
    course = {"steps": 4, "epoch_steps": 4, "teacher": teacher and str(teacher), **settings}
    return tiny.config(data={"split": "none", **(data or {})}, train=course)


def opened(dataset: Dataset, folder: Path, **settings: object):
    return load_and_split(config(folder, **settings), dataset.folder, "all")


def edit(folder: Path, scan: str, **facts: object) -> None:
    record = read_record(folder / scan)
    write_record(record.model_copy(update=facts), folder / scan)


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"seen": "scan"}, "trained on the scan itself: case2_day0; .*--split unseen_cases"),
        ({"seen": "case"}, "trained on another day of the case: case2_day0"),
        ({"seen": "unknown"}, "nobody knows what they were trained on: case2_day0"),
        ({"image_hash": "1" * 32}, "case2_day0: its maps are of another image than case2_day0"),
        ({"classes": ("liver", "stomach")}, "case2_day0: has maps of liver, stomach, the dataset"),
    ],
)
def test_maps_that_may_not_teach_are_refused_by_name(dataset, folder, facts, reason) -> None:
    edit(folder, "case2_day0", **facts)

    with pytest.raises(UserError, match=f"train.teacher: .*{reason}"):
        opened(dataset, folder)


def test_maps_of_another_grid_and_lost_maps_are_refused_by_name_all_at_once(dataset, folder) -> None:
    stretched = Volume(np.zeros(tiny.SHAPE, np.uint8), tiny.AFFINE * 1.1)
    write_volume(stretched, folder / f"case1_day0/stomach{PROBABILITY}", slope=1 / 255)
    (folder / f"case7_day0/stomach{PROBABILITY}").unlink()

    with pytest.raises(UserError) as told:
        opened(dataset, folder)

    first, second = str(told.value).splitlines()
    assert f"case1_day0/stomach{PROBABILITY}: lies on another grid" in first
    assert f"case7_day0: lacks stomach{PROBABILITY}" in second


@pytest.mark.parametrize("lost", [True, False])
def test_maps_of_which_nobody_knows_who_made_them_are_refused(dataset, folder, lost: bool) -> None:
    record = folder / "case2_day0" / RECORD
    if lost:
        record.unlink()
    else:
        record.write_text("{")

    with pytest.raises(UserError, match=r"case2_day0: has maps, but no record\.json that can"):
        opened(dataset, folder)


def test_an_unlabelled_scan_may_be_taught_by_who_has_seen_it(dataset, folder) -> None:
    edit(folder, "case7_day0", seen="scan")

    _, facts = opened(dataset, folder)

    assert facts.taught == UNLABELLED
    assert facts.identity_of("case7_day0") in facts.trained_on.fitted


def test_no_folder_and_no_maps_are_refused(dataset, tmp_path) -> None:
    with pytest.raises(UserError, match=r"train.teacher: .*nowhere: no such folder; .*--save-probabilities"):
        opened(dataset, tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"train.teacher: .*: has no map of any training scan"):
        opened(dataset, tmp_path)


def test_a_weight_is_a_share() -> None:
    with pytest.raises(UserError, match=r"train.teacher_weight: .*less than or equal to 1"):
        validate_values({"train": {"teacher_weight": 2}}, "c.yaml")


def test_scans_of_cases_that_are_kept_apart_are_not_taught(dataset, right) -> None:
    _, facts = opened(dataset, right, data={"hold_out": ["case7", "case3"]})

    assert facts.taught == ("case8_day0",)
    assert "case3_day0" in facts.hold_out
    assert not facts.files["case3_day0"].teacher


@pytest.mark.parametrize("spacing", [None, (2.0, 1.5, 3.0)])
def test_maps_travel_as_images_do(dataset, tmp_path, spacing) -> None:
    """A map used as an image, of one class: the same voxels on the same grid, to a rounding."""
    data = Data(spacing_mm=spacing, intensity={"name": "window", "low": 0, "high": 255})
    sample = dataset.samples[0]
    maps = TeacherMaps(teach(dataset, tmp_path, noise), dataset.classes, frozenset([sample.name]))
    levels = noise(sample)[1].astype(np.uint8)
    write_volume(dataset.image(sample).with_voxels(levels), tmp_path / "image.nii.gz")
    as_image = sample.model_copy(update={"images": (str(tmp_path / "image.nii.gz"),)})

    scan = LoadScan(dataset, data, maps)(sample)

    image = LoadScan(dataset, data)(as_image).image[0]
    assert scan.teacher.shape == (2, *image.shape)
    assert np.abs(scan.teacher[1] - image * np.float32(255)).max() < (0.6 if spacing else 0.1)


def test_a_scan_without_labels_is_ignored_by_them_and_patches_are_centred_by_its_maps(dataset, right) -> None:
    maps = TeacherMaps(right, dataset.classes, frozenset(UNLABELLED))
    sample = next(one for one in dataset.samples if one.name == "case8_day0")

    scan = LoadScan(dataset, Data(), maps)(sample)

    assert scan.held_planes == (2,)  # ignored voxels, no class
    assert all(scan.teacher[k][tuple(points.T)].all() for k, points in enumerate(scan.points))
    assert all(len(points) for points in scan.points)


@pytest.mark.parametrize("cache", ["memory", "disk"])
def test_a_teacher_changes_no_draw_image_or_mask(dataset, tmp_path, cache) -> None:
    labelled = [one for one in dataset.samples if one.labels]
    wild = {"elastic_mm": 2, "rotate_degrees": [20, 20, 20], "flip": ["x"]}
    names = frozenset(one.name for one in labelled[1:])
    maps = TeacherMaps(teach(dataset, tmp_path, noise), dataset.classes, names)
    base = tiny.config(augment=wild, data={"cache": cache, "split": "none"})
    _, facts = load_and_split(base, dataset.folder, "all")
    plain, taught = (
        cached_patches(Run.create(tmp_path / f"r{k}", base, facts), dataset, CPU) for k in range(2)
    )
    taught.scans = ScanCache(LoadScan(dataset, base.data, maps), labelled)

    for one, other in zip(*(batches(row) for row in (plain, taught)), strict=True):
        assert one["name"] == other["name"]
        assert one["label"].equal(other["label"])
        assert torch.allclose(one["image"], other["image"], atol=1e-6)
        assert "teacher" not in one
        lacking = [name == labelled[0].name for name in other["name"]]
        assert other["taught"].tolist() == [[int(not one)] * 8 for one in lacking]
        assert [not patch.any() for patch in other["teacher"]] == lacking


def test_a_teacher_has_no_say_in_slices_of_which_a_network_sees_half(dataset, right) -> None:
    labelled = [one for one in dataset.samples if one.labels]
    maps = TeacherMaps(right, dataset.classes, frozenset(one.name for one in labelled))
    vary = build_augmentation(Augment(), patch=(8, 8, 6), foreground=0.5)
    scans = ScanCache(LoadScan(dataset, Data(), maps), labelled)

    found = batches(TrainingPatches(scans, vary, seed=0, reach=2))

    seen = [(batch["label"] != IGNORE).all(dim=(1, 2, 3)) for batch in found]
    assert [batch["taught"].bool().tolist() for batch in found] == [one.tolist() for one in seen]
    assert not torch.cat(seen).all()


def batches(patches) -> list[dict]:
    return list(load_batches(patches, batch=2, steps=range(6), threads=0, device=CPU))


def test_the_cache_knows_the_maps(dataset, right, folder) -> None:
    every = frozenset(one.name for one in dataset.samples)
    loads = [
        LoadScan(dataset, Data(cache="disk"), TeacherMaps(one, dataset.classes, every))
        for one in (right, folder)
    ]
    samples, need = dataset.samples, packed_bytes(dataset.samples, Data(), loads[0].teacher)
    scans = [ScanCache(load, samples)[0] for load in loads]

    assert len({cache_key(load) for load in (*loads, LoadScan(dataset, Data()))}) == 3
    assert np.array_equal(scans[0].teacher, loads[0](samples[0]).teacher)
    voxels = len(samples) * scans[0].image.size
    assert need == voxels * (2 + 1 + 2)  # float16, a byte of bits, and a byte a class


@pytest.mark.slow
def test_the_weight_0_is_no_teacher_bit_for_bit(dataset, right, tmp_path) -> None:
    runs = [
        train(
            config(teacher, **weight), TrainArguments(data=dataset.folder, run=tmp_path / name, fold="all")
        ).run
        for name, teacher, weight in (("without", None, {}), ("nothing", right, {"teacher_weight": 0}))
    ]

    one, other = (load_file(run / BEST) for run in runs)

    assert all(one[name].equal(other[name]) for name in one)
    assert not Run.open(runs[1]).facts.taught


@pytest.mark.slow
def test_a_teacher_that_repeats_the_labels_gives_the_losses_without_one(dataset, right, tmp_path) -> None:
    """Of the cross-entropy, by the first steps of both, of unturned patches: masks are cut at one half."""
    labelled = Dataset(
        dataset.folder,
        dataset.facts.model_copy(update={"samples": tuple(one for one in dataset.samples if one.labels)}),
    )
    losses = []
    for name, teacher in (("without", None), ("with", right)):
        settings = config(teacher, precision="fp32").model_copy(
            update={"loss": DiceCE(dice=0, ce=1), "augment": Augment(spatial_probability=0)}
        )
        _, facts = opened(dataset, teacher) if teacher else load_and_split(settings, dataset.folder, "all")
        facts = facts.model_copy(update={"taught": ()})
        training = build_training(Run.create(tmp_path / name, settings, facts), labelled)
        found = []
        for batch in load_batches(training.patches, batch=2, steps=range(4), threads=0, device=CPU):
            training.stepper.step(training.state, batch, 1e-2)
            found.append(training.stepper.finish().loss)
        losses.append(found)

    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


@pytest.mark.slow
def test_a_scan_without_labels_is_learned_from_its_maps_alone(dataset, folder, tmp_path, caplog) -> None:
    """Of two unlabelled scans, whose teacher takes each class for the other; nothing else trains."""
    sure = {"teacher_weight": 1.0, "steps": 60, "epoch_steps": 60, "patch": [20, 16, 8]}
    swapped = teach(dataset, tmp_path / "swapped", lambda one: labels_of(dataset)(one)[::-1])
    for sample in dataset.samples:
        if sample.labels:
            shutil.rmtree(swapped / sample.name)
    _, facts = opened(dataset, swapped)
    run = Run.create(tmp_path / "run", config(swapped, **sure), facts.model_copy(update={"train": ()}))
    training = build_training(run, dataset)
    rates = iter([1e-2] * 60)
    for batch in load_batches(training.patches, batch=2, steps=range(60), threads=0, device=CPU):
        assert {*batch["name"]} <= {*UNLABELLED}
        training.stepper.step(training.state, batch, next(rates))
    training.stepper.finish()

    run.save_best_weights(training.state.network)
    out = tmp_path / "out"
    infer(
        InferArguments(run=(str(run.folder),), data=dataset.folder, out=out, case=("case1",), engine="torch")
    )

    truth = dataset.label(dataset.samples[0], "stomach")
    found = _read(out / "case1_day0/large_bowel.nii.gz").astype(bool)
    assert 2 * (truth & found).sum() / (truth.sum() + found.sum()) > 0.7


@pytest.mark.slow
def test_a_run_says_what_teaches_it_and_goes_on_only_with_the_same_maps(
    dataset, folder, tmp_path, caplog
) -> None:
    caplog.set_level(logging.INFO)
    shutil.rmtree(folder / "case2_day0")
    edit(folder, "case8_day0", unknown_weights=("other.pt",))
    options = TrainArguments(data=dataset.folder, run=tmp_path / "run", fold="all")

    train(config(folder, data={"hold_out": ["case7"]}), options)

    log = (tmp_path / "run/log.txt").read_text()
    assert (
        f"taught by {folder} with the weight 0.5: 5 labelled scans, and 1 scan by it alone: case8_day0" in log
    )
    assert "has no maps of case2_day0: they learn from labels alone" in log
    assert "case7_day0: not learned from, as their cases are kept apart" in log
    assert "unknown which scans the teacher's first weights saw: other.pt" in log
    assert ": 7 scans, 2 patches a batch" in log
    folder = folder.rename(tmp_path / "moved")
    train(config(folder, data={"hold_out": ["case7"]}), replace(options, resume=True))
    write_volume(
        dataset.image(dataset.samples[0]).with_voxels(np.full(tiny.SHAPE, 9, np.uint8)),
        folder / f"case1_day0/stomach{PROBABILITY}",
        slope=1 / 255,
    )
    with pytest.raises(UserError, match=r"the teacher of case1_day0 \(changed since\)"):
        train(config(folder, data={"hold_out": ["case7"]}), replace(options, resume=True))
