"""`volseg train --devices N`: N ranks on this machine by torchrun, watched until the last has ended.

What goes to and from a rank lies as a file in a folder of theirs; a rank is this module run as a program.
"""

import logging
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel
from torch import cuda
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from volseg import console
from volseg.arguments import TrainOptions
from volseg.config.config import Config, validate_values
from volseg.errors import ElsewhereError, UserError
from volseg.model.distributed import process_group
from volseg.system import signals
from volseg.system.files import write_text
from volseg.system.hardware import available_cores
from volseg.training import train as stage
from volseg.training.train import TrainingResult

ORDER, NUMBER = "order.json", "pid"
FAILED = "failed.txt"
"""In the run: the traceback of a rank that failed by a fault of ours."""
WATCH = 0.2
"""Seconds between two looks at what the others do."""


class LaunchOrder(BaseModel):
    """What the ranks are to do."""

    config: dict[str, object]
    options: TrainOptions


class RankOutcome(BaseModel):
    """How a rank ended: done, stopped by a signal, by a mistake of the user's or a fault of ours."""

    trained: TrainingResult | None = None
    stopped: int | None = None
    mistake: str = ""
    fault: str = ""


def launch(devices: int, config: Config, options: TrainOptions) -> TrainingResult:
    """Train on so many devices: GPUs, or processes that share the cores where there is no GPU.

    Within torchrun or SLURM this process is one of the ranks already, and joins them.

    Raises:
        UserError: more devices than there are; a mistake that a rank found; a rank that has died.
        Stopped: it was asked to end.
    """
    present = process_group.announced_world_size()
    if devices in (1, present):
        return stage.train(config, options)
    if present > 1:
        raise UserError(
            f"--devices {devices}: this is one of {present} ranks that torchrun or SLURM has started; "
            "leave --devices out"
        )
    most, kind = (cuda.device_count(), "GPUs") if cuda.is_available() else (available_cores(), "cores")
    if not 1 <= devices <= most:
        raise UserError(
            f"--devices {devices}: this machine lends {most} {kind}; give a number from 1 to {most}"
        )
    with tempfile.TemporaryDirectory(prefix="volseg-") as folder:
        order = LaunchOrder(config=config.model_dump(mode="json"), options=options)
        write_text(Path(folder) / ORDER, order.model_dump_json())
        return _RankLauncher(Path(folder), devices, options.run).run_ranks()


@dataclass
class _RankLauncher:
    """Ranks that were started together. `failed` is what torchrun says of the ranks that failed."""

    folder: Path
    devices: int
    run: Path
    failed: ChildFailedError | None = None
    broken: BaseException | None = None
    signalled: set[int] = field(default_factory=set)

    def run_ranks(self) -> TrainingResult:
        # torchrun takes no signals outside of the main thread: here they are heeded and passed on.
        thread = threading.Thread(target=self._run_torchrun, daemon=True)
        with signals.deferred_signals() as request:
            thread.start()
            try:
                while thread.is_alive():
                    thread.join(WATCH)
                    if request.number is not None:
                        self._forward_signal(request.number)
            except KeyboardInterrupt:  # the second one: it acts at once
                self.signalled.clear()
                self._forward_signal(signal.SIGINT)
                raise
        return self._result_or_raise(request.number)

    def _run_torchrun(self) -> None:
        logging.getLogger("torch.distributed").setLevel(logging.CRITICAL)  # we tell it shorter
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=self.devices,
            run_id=uuid.uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="localhost",
            max_restarts=0,
            monitor_interval=WATCH,
            logs_specs=DefaultLogsSpecs(log_dir=str(self.folder)),
        )
        try:
            elastic_launch(config, sys.executable)("-m", __name__, str(self.folder))
        except ChildFailedError as error:
            self.failed = error
        except BaseException as error:
            self.broken = error

    def _forward_signal(self, number: int) -> None:
        """Send a signal once to each rank that is there."""
        for path in self.folder.glob(f"[0-9]*.{NUMBER}"):
            process = int(path.read_text())
            if process not in self.signalled:
                self.signalled.add(process)
                with suppress(ProcessLookupError):  # it has ended meanwhile
                    os.kill(process, number)

    def _result_or_raise(self, asked: int | None) -> TrainingResult:
        """What came of it; of several reasons to end, the one that explains the others."""
        found = {
            int(path.stem): RankOutcome.model_validate_json(path.read_bytes())
            for path in sorted(self.folder.glob("[0-9]*.json"))
        }
        if self.broken is not None:
            raise self.broken
        for one in found.values():
            if one.mistake:
                raise UserError(one.mistake)
        for number, one in found.items():
            if one.fault:
                raise UserError(self._fault_message(number, one.fault))
        stopped = next((one.stopped for one in found.values() if one.stopped), asked)
        if stopped:
            raise signals.Stopped(stopped)
        if self.failed is not None:
            raise UserError(self._death_message(self.failed))
        return next(one.trained for one in found.values() if one.trained)

    def _fault_message(self, number: int, text: str) -> str:
        path = self.run / FAILED
        write_text(path, text)
        return (
            f"rank {number} of {self.devices} failed: {text.strip().splitlines()[-1]} "
            f"(its traceback is in {path}); go on from the last checkpoint with --resume"
        )

    def _death_message(self, error: ChildFailedError) -> str:
        number, failure = next(iter(error.failures.items()))
        if failure.exitcode < 0:
            how = f"was killed by {failure.signal_name()}"
        else:
            how = f"ended with exit code {failure.exitcode}"
        memory = (
            " (often for want of memory: then take fewer devices, a smaller patch or batch)"
            if failure.exitcode == -signal.SIGKILL
            else ""
        )
        return (
            f"rank {number} of {self.devices} {how}{memory}, so the others ended too; "
            "go on from the last checkpoint with --resume"
        )


def run_rank(folder: Path) -> int:
    """Be one of the ranks; return its exit code."""
    number = int(os.environ["RANK"])
    write_text(folder / f"{number}.{NUMBER}", str(os.getpid()))
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    console.configure_logging()
    order = LaunchOrder.model_validate_json((folder / ORDER).read_bytes())
    try:
        config = validate_values(order.config, str(order.options.run))
        outcome = RankOutcome(trained=stage.train(config, order.options))
    except ElsewhereError:
        return 1
    except UserError as error:
        outcome = RankOutcome(mistake=str(error))
    except KeyboardInterrupt as stop:
        outcome = RankOutcome(stopped=getattr(stop, "number", signal.SIGINT))
    except Exception:
        outcome = RankOutcome(fault=traceback.format_exc())
    write_text(folder / f"{number}.json", outcome.model_dump_json())
    return 1 if outcome.mistake or outcome.fault else 0


def _end_with_parent(parent: int) -> None:
    """Ask this process to end when the one that has started it is gone."""
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(run_rank(Path(sys.argv[1])))
