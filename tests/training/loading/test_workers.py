import os
import signal
import subprocess

import pytest
from monai.transforms import Compose
from torch.utils.data import get_worker_info

from tests import tiny
from volseg.config.sections import Augment, Data
from volseg.errors import UserError
from volseg.training.augmentation.pipeline import build_augmentation
from volseg.training.loading import workers
from volseg.training.loading.loader import TrainingPatches, load_batches
from volseg.training.loading.scan_cache import ScanCache
from volseg.training.loading.workers import WorkerTable, user_errors


class Falls:
    """Scans of which one ends the process, or raises."""

    def __init__(self, scans: ScanCache, what: object) -> None:
        self.scans = scans
        self.names = scans.names
        self.what = what

    def __len__(self) -> int:
        return len(self.scans)

    def __getitem__(self, number: int) -> object:
        if self.names[number] == "case2_day0":
            if isinstance(self.what, Exception):
                raise self.what
            assert get_worker_info()
            os.kill(os.getpid(), self.what)
        return self.scans[number]


def row(tmp_path, what: object) -> TrainingPatches:
    dataset = tiny.write(tmp_path, cases=3, days=1)
    scans = Falls(ScanCache(dataset, dataset.samples, Data()), what)
    return TrainingPatches(scans, build_augmentation(Augment(), patch=(8, 8, 4), foreground=0.5), seed=0)


def first_step(patches: TrainingPatches) -> int:
    return next(p for p in range(9) if patches.scans.names[patches.scan_index(p)] == "case2_day0") // 2


def run(patches: TrainingPatches, count: int) -> None:
    with user_errors(patches.table, patches.scans.names):
        for _ in load_batches(patches, batch=2, steps=range(9), workers=count):
            pass


@pytest.mark.parametrize(
    ("ended", "ran_out", "reason"),
    [
        (signal.SIGKILL, 1, r"was killed \(SIGKILL\): the system's memory ran out; set data\.cache=disk"),
        (signal.SIGKILL, 0, r"was killed \(SIGKILL\) from outside, memory had not run out; go on with"),
        (signal.SIGKILL, None, r"was killed \(SIGKILL\), most likely since the system's memory ran out"),
        (signal.SIGSEGV, 0, r"crashed \(SIGSEGV\); a file of this scan may be bad"),
        (signal.SIGBUS, 0, r"was ended \(SIGBUS\): the shared memory of /dev/shm is full"),
    ],
)
def test_a_worker_that_dies_is_told_with_scan_step_and_reason(
    tmp_path, monkeypatch, ended, ran_out, reason
) -> None:
    counts = iter([5, None if ran_out is None else 5 + ran_out])
    monkeypatch.setattr(workers, "out_of_memory_kills", lambda: next(counts))
    patches = row(tmp_path, ended)
    where = rf"^case2_day0, step {first_step(patches)}: the data worker \(process \d+\) "

    with pytest.raises(UserError, match=where + reason):
        run(patches, 1)


def test_of_several_workers_the_dead_one_is_told(tmp_path) -> None:
    with pytest.raises(UserError, match=r"^case2_day0, step \d: the data worker"):
        run(row(tmp_path, signal.SIGKILL), 2)


@pytest.mark.parametrize("count", [0, 2])
@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (UserError("a.nii.gz: not a readable volume"), UserError, "a.nii.gz: not a readable volume"),
        (MemoryError(), UserError, "memory ran out; set data.cache=disk"),
        (KeyError("ours"), RuntimeError, "Traceback"),
    ],
)
def test_an_exception_is_told_with_scan_and_step(tmp_path, count, error, kind, text) -> None:
    patches = row(tmp_path, error)

    with pytest.raises(kind) as caught:
        run(patches, count)

    assert type(caught.value) is kind
    assert str(caught.value).startswith(f"case2_day0, step {first_step(patches)}: {text}")


def test_what_a_transform_raises_is_brought_out_of_monais_error(tmp_path) -> None:
    def bad(_: object) -> None:
        raise UserError("here: wrong")

    with pytest.raises(UserError, match=r"^here: wrong$"), user_errors():
        Compose([bad])({})


def test_a_worker_that_dies_while_it_hands_over_a_batch_is_told(tmp_path) -> None:
    """The parent then sees only a broken connection."""
    gone, table = subprocess.Popen(["true"]), WorkerTable()
    gone.wait()
    table.enter(0, process=os.getpid(), step=3, scan=0)
    table.enter(1, process=gone.pid, step=4, scan=1)

    with (
        pytest.raises(UserError, match=rf"^b, step 4: the data worker \(process {gone.pid}\)"),
        user_errors(table, ["a", "b"]),
    ):
        raise ConnectionResetError
    with pytest.raises(ConnectionResetError), user_errors(WorkerTable(), ["a", "b"]):
        raise ConnectionResetError


def test_errors_of_others_pass(tmp_path) -> None:
    with pytest.raises(RuntimeError, match="ours"), user_errors(WorkerTable(), []):
        raise RuntimeError("ours")


def test_the_table_tells_the_last_that_each_process_began() -> None:
    table = WorkerTable()
    for worker, process, step, scan in ((0, 11, 5, 2), (1, 12, 6, 3), (0, 11, 7, 4)):
        table.enter(worker, process=process, step=step, scan=scan)

    assert table.work_of(11) == (7, 4)
    assert table.work_of(12) == (6, 3)
    assert table.work_of(13) is None
