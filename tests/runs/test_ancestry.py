"""Weights remember what they were made from, through every run that they went through."""

import hashlib
import json
from pathlib import Path

import pytest

from volseg.config.config import Config
from volseg.data.image_identity import ScanIdentity
from volseg.model.networks import UNet
from volseg.runs.ancestry import read_trained_on
from volseg.runs.run import Run
from volseg.runs.run_files import BEST, SPLITS, WEIGHTS, RunSplits
from volseg.runs.trained_on import TrainedOn


def make_run(folder: Path, train: str, validated: str, **fields: object) -> Path:
    facts = RunSplits(
        dataset=f"data of {folder.name}",
        classes=("a",),
        exclusive=False,
        channels=("mr",),
        fold=0,
        train=(train,),
        unseen_cases=(validated,),
        **fields,
    )
    run = Run.create(folder, Config(network=UNet(channels=(4, 8))), facts)
    (folder / BEST).write_bytes(folder.name.encode())
    return run.folder / BEST


def names(scans: tuple[ScanIdentity, ...]) -> set[str]:
    return {one.name for one in scans}


def test_a_run_and_its_ancestors_are_known_from_the_file_of_weights(tmp_path: Path) -> None:
    old = make_run(tmp_path / "old", "a", "b", images={"a": "image of a"})
    child = make_run(tmp_path / "child", "c", "d", inherited=read_trained_on(old))
    grandchild = make_run(tmp_path / "grandchild", "e", "f", inherited=read_trained_on(child))

    found = read_trained_on(grandchild)

    assert (names(found.fitted), names(found.chose)) == ({"a", "c", "e"}, {"b", "d", "f"})
    assert found.seen_in_training(ScanIdentity(name="new name", case="", image="image of a")) == "scan"
    assert found.unknown == ()
    assert Run.open(grandchild.parent).facts.trained_on == found


def test_scans_kept_from_a_training_that_the_first_weights_had_seen_are_named(tmp_path: Path) -> None:
    old = make_run(tmp_path / "old", "a", "b", images={"a": "image of a"}, cases={"a": "anna"})
    again = {"renamed": "image of a", "d": "image of d"}
    facts = Run.open(make_run(tmp_path / "child", "d", "renamed", images=again).parent).facts
    other_day = facts.model_copy(update={"unseen_cases": ("new",), "cases": {"new": "anna"}})
    stranger = facts.model_copy(update={"unseen_cases": ("a",), "images": {**again, "a": "another's"}})

    def leaked(splits: RunSplits) -> tuple[str, ...]:
        return splits.model_copy(update={"inherited": read_trained_on(old)}).leaked_scans

    assert leaked(facts) == ("renamed",)
    assert leaked(other_day) == ("new",)
    assert leaked(stranger) == ()


def _absent(splits: Path) -> None:
    splits.unlink()


def _foreign(splits: Path) -> None:
    splits.write_text(json.dumps([{"train": ["a"], "val": ["b"]}]))


@pytest.mark.parametrize("spoil", [_absent, _foreign])
def test_what_other_weights_saw_is_unknown_and_stays_so(tmp_path: Path, spoil) -> None:
    file = make_run(tmp_path / "bundle", "a", "b")
    spoil(file.with_name(SPLITS))

    child = make_run(tmp_path / "child", "c", "d", inherited=read_trained_on(file))

    assert read_trained_on(file) == TrainedOn(unknown=(f"bundle/{BEST}",))
    assert read_trained_on(child).unknown == (f"bundle/{BEST}",)


def _record_first_weights(run: Path, file: Path, content: bytes) -> None:
    """As every version wrote it; the runs of earlier ones say nothing of ancestors in splits.json."""
    sha256 = hashlib.sha256(content).hexdigest()
    record = {"source": "old", "file": str(file), "sha256": sha256, "seen": []}
    (run / WEIGHTS).write_text(json.dumps(record))


def test_the_ancestors_of_an_earlier_version_s_run_are_found_by_its_record(tmp_path: Path) -> None:
    old = make_run(tmp_path / "old", "a", "b")
    child = make_run(tmp_path / "child", "c", "d")
    _record_first_weights(child.parent, old, old.read_bytes())

    assert names(Run.open(child.parent).facts.trained_on.fitted) == {"a", "c"}


@pytest.mark.parametrize("how", ["gone", "changed", "damaged record"])
def test_without_them_they_are_unknown(tmp_path: Path, how: str) -> None:
    old = make_run(tmp_path / "old", "a", "b")
    child = make_run(tmp_path / "child", "c", "d")
    _record_first_weights(child.parent, old, b"others" if how == "changed" else old.read_bytes())
    if how == "gone":
        old.unlink()
    if how == "damaged record":
        (child.parent / WEIGHTS).write_text("{")

    found = Run.open(child.parent).facts.trained_on

    assert names(found.fitted) == {"c"}
    assert len(found.unknown) == 1
