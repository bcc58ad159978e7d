import threading

import pytest
from monai.transforms import Compose

from tests import tiny
from tests.training.patches import CPU
from volseg.config.sections import Augment, Data
from volseg.errors import UserError
from volseg.training.augmentation.pipeline import build_augmentation
from volseg.training.loading.load_scan import LoadScan
from volseg.training.loading.loader import TrainingPatches, load_batches
from volseg.training.loading.patch_errors import told_with_place
from volseg.training.loading.scan_cache import ScanCache


class Falls:
    """Scans of which one raises."""

    def __init__(self, scans: ScanCache, error: BaseException) -> None:
        self.scans = scans
        self.names = scans.names
        self.on_device, self.taught = None, False
        self.error = error

    def __len__(self) -> int:
        return len(self.scans)

    def __getitem__(self, number: int) -> object:
        if self.names[number] == "case2_day0":
            raise self.error
        return self.scans[number]


def row(tmp_path, error: BaseException) -> TrainingPatches:
    dataset = tiny.write(tmp_path, cases=3, days=1)
    scans = Falls(ScanCache(LoadScan(dataset, Data()), dataset.samples), error)
    return TrainingPatches(scans, build_augmentation(Augment(), patch=(8, 8, 4), foreground=0.5), seed=0)


def first_step(patches: TrainingPatches) -> int:
    return next(p for p in range(9) if patches.scans.names[patches.scan_index(p)] == "case2_day0") // 2


def run(patches: TrainingPatches, count: int) -> int:
    done = 0
    for _ in load_batches(patches, batch=2, steps=range(9), threads=count, device=CPU):
        done += 1
    return done


@pytest.mark.parametrize("count", [0, 2])
@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (UserError("a.nii.gz: not a readable volume"), UserError, "a.nii.gz: not a readable volume"),
        (MemoryError(), UserError, "memory ran out; set data.cache=disk"),
        (
            RuntimeError("[enforce fail] can't allocate memory"),
            UserError,
            "memory ran out; set data.cache=disk",
        ),
        (KeyError("ours"), RuntimeError, "KeyError('ours')"),
    ],
)
def test_an_exception_is_told_with_scan_and_step_and_ends_the_threads(
    tmp_path, count, error, kind, text
) -> None:
    patches = row(tmp_path, error)

    with pytest.raises(kind) as caught:
        run(patches, count)

    assert type(caught.value) is kind
    assert str(caught.value).startswith(f"case2_day0, step {first_step(patches)}: {text}")
    assert caught.value.__cause__ is error
    assert not any(thread.name.startswith("patches") for thread in threading.enumerate())


def test_what_a_transform_raises_is_brought_out_of_monais_error() -> None:
    def bad(_: object) -> None:
        raise UserError("here: wrong")

    with pytest.raises(UserError, match=r"^scan, step 3: here: wrong$"), told_with_place("scan, step 3"):
        Compose([bad])({})


def test_an_interrupt_passes(tmp_path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(row(tmp_path, KeyboardInterrupt()), 0)
