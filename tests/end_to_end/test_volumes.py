"""Data in volumes goes the whole way: prepared, trained on by a softmax, predicted and scored."""

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from volseg.arguments import InferArguments, PrepareArguments, TrainArguments
from volseg.config import config
from volseg.data.dataset import Dataset
from volseg.evaluation.evaluate import evaluate
from volseg.inference.infer import infer
from volseg.preparation.prepare import prepare
from volseg.training.train import train


def learn(folder: Path, overrides: list[str], *, split: str | None) -> float:
    """Train, predict a split (or all) and return the mean Dice; masks must never share a voxel."""
    data, run, out = folder / "prepared", folder / "run", folder / "predictions"
    settings = config.load(Path("configs/hippocampus.yaml"), overrides)
    train(settings, TrainArguments(data=data, run=run))
    infer(InferArguments(run=(str(run),), data=data, out=out, split=split, all=split is None))
    dataset = Dataset.load(data)
    assert dataset.facts.exclusive
    for record in sorted(out.glob("*/record.json")):
        files = [nibabel.load(record.parent / f"{name}.nii.gz") for name in dataset.classes]
        image = dataset.image(dataset.select_samples(record.parent.name)[0])
        assert all(np.allclose(file.affine, image.affine, atol=1e-3) for file in files)
        assert sum(np.asarray(file.dataobj).astype(int) for file in files).max() <= 1
    scores = evaluate(out, data)
    return float(np.nanmean([v["Dice"] for scan in scores.scans for v in scan.values.values()]))


@pytest.mark.slow
def test_the_hippocampus_of_unseen_cases_is_found(shared_data, tmp_path):
    """A few steps of a small U-Net on 48 of the 195 cases reach 0.79; minutes on all of them 0.86."""
    folder = shared_data / "hippocampus"
    facts = json.loads((folder / "dataset.json").read_text())
    few = [{key: str(folder / pair[key]) for key in ("image", "label")} for pair in facts["training"][:60]]
    listing = tmp_path / "hippocampus.json"
    listing.write_text(json.dumps({"labels": facts["labels"], "training": few}))
    prepare(listing, options=PrepareArguments(layout="nifti", out=tmp_path / "prepared"))

    network = "network={name: unet, channels: [16, 32, 64, 128], strides: [2, 2, 2], res_units: 1}"
    few = [network, "train.steps=200", "train.epoch_steps=200", "train.batch=1"]
    dice = learn(tmp_path, few, split="unseen_cases")

    assert dice > 0.75


@pytest.mark.slow
def test_an_abdomen_in_ct_and_one_in_mr_are_learnt(shared_data, tmp_path):
    """Trained and scored on the same two scans of other orientations and spacings: it learns, no more."""
    names = [("example_ct_sm", "example_seg_gi3"), ("example_mr_sm", "example_seg_mr_gi3")]
    folder = shared_data / "abdomen"
    pairs = [
        {"image": f"{folder / image}.nii.gz", "label": f"{folder / label}.nii.gz"} for image, label in names
    ]
    organs = {"background": 0, "large_bowel": 1, "small_bowel": 2, "stomach": 3}
    listing = tmp_path / "abdomen.json"
    listing.write_text(json.dumps({"labels": organs, "training": pairs}))
    prepare(listing, options=PrepareArguments(layout="nifti", out=tmp_path / "prepared"))
    network = "network={name: unet, channels: [16, 32, 64, 128], strides: [2, 2, [2, 2, 1]], res_units: 1}"
    few = ["train.steps=150", "train.epoch_steps=150", "train.patch=[96,80,16]", "train.batch=1"]
    few += ["train.ema=0.9", "optimizer.lr=7e-3", "loss.dice=0.8", "loss.ce=0.2"]
    plain = ["data.split=none", "augment.spatial_probability=0", "augment.intensity_probability=0"]

    dice = learn(tmp_path, [network, *few, *plain], split=None)

    assert dice > 0.6
