"""`volseg train --devices N`: N ranks on this machine by torchrun, watched until the last has ended.

A rank is this module run as a program; its order and its outcome are files in a temporary folder.
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
from volseg.arguments import TrainArguments
from volseg.config.config import Config, validate_values
from volseg.errors import ElsewhereError, UserError
from volseg.model.distributed import process_group
from volseg.system import signals
from volseg.system.files import write_text
from volseg.system.hardware import machine_cores
from volseg.training.result import TrainingResult

ORDER, NUMBER = "order.json", "pid"
FAILED = "failed.txt"  # file of the run with the traceback of a rank that failed by an error in volseg
WATCH = 0.2  # seconds between two checks of the ranks
TERM = "3"  # seconds between torchrun's SIGTERM to the other ranks, when one has failed, and its SIGKILL


class LaunchOrder(BaseModel):
    """The config and options that all ranks train by."""

    config: dict[str, object]
    options: TrainArguments


class RankOutcome(BaseModel):
    """How a rank ended: trained, or by a signal, a UserError (`mistake`) or another error (`fault`)."""

    trained: TrainingResult | None = None
    stopped: int | None = None
    mistake: str = ""
    fault: str = ""


def launch(config: Config, options: TrainArguments) -> TrainingResult:
    """Train on `options.devices` GPUs, or processes that share the cores where there is no GPU.

    Within torchrun or SLURM this process is one of the ranks already, and joins them.

    Raises:
        UserError: more devices than there are, a UserError of a rank, or a rank that has died.
        Stopped: by a signal.
    """
    devices, present = options.devices, process_group.announced_world_size()
    if devices in (1, present):
        return _train(config, options)
    if present > 1:
        raise UserError(
            f"--devices {devices}: this is one of {present} ranks that torchrun or SLURM has started; "
            "leave --devices out"
        )
    if options.device not in (None, "cpu", "cuda"):
        raise UserError(
            f"--devices {devices}: --device {options.device} is one device; "
            "pass --device cuda for several, or leave one of both out"
        )
    on_gpus = options.device != "cpu" and cuda.is_available()
    most, kind = (cuda.device_count(), "GPUs") if on_gpus else (machine_cores(), "cores")
    if not 1 <= devices <= most:
        raise UserError(
            f"--devices {devices}: this machine lends {most} {kind}; give a number from 1 to {most}"
        )
    with tempfile.TemporaryDirectory(prefix="volseg-") as folder:
        order = LaunchOrder(config=config.to_values(), options=options)
        write_text(Path(folder) / ORDER, order.model_dump_json())
        return _RankLauncher(Path(folder), devices, options.run).run_ranks()


def _train(config: Config, options: TrainArguments) -> TrainingResult:
    """Train in this process; what starts ranks alone does not wait for MONAI to load."""
    from volseg.training.train import train

    return train(config, options)


@dataclass
class _RankLauncher:
    """Ranks that are started together. `failed` is torchrun's error about the ranks that failed."""

    folder: Path
    devices: int
    run: Path
    failed: ChildFailedError | None = None
    broken: BaseException | None = None
    signalled: set[int] = field(default_factory=set)

    def run_ranks(self) -> TrainingResult:
        # torchrun takes no signals outside of the main thread: they are passed on from here.
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
        logging.getLogger("torch.distributed").setLevel(logging.CRITICAL)  # our messages are shorter
        os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", TERM)
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
        """Send a signal to each rank that runs and has not got it yet."""
        for path in self.folder.glob(f"[0-9]*.{NUMBER}"):
            process = int(path.read_text())
            if process not in self.signalled:
                self.signalled.add(process)
                with suppress(ProcessLookupError):  # the rank has ended meanwhile
                    os.kill(process, number)

    def _result_or_raise(self, asked: int | None) -> TrainingResult:
        """The first rank's result, or an exception; of several failures the one that explains the others."""
        outcomes = {
            int(path.stem): RankOutcome.model_validate_json(path.read_bytes())
            for path in sorted(self.folder.glob("[0-9]*.json"))
        }
        if self.broken is not None:
            raise self.broken
        for outcome in outcomes.values():
            if outcome.mistake:
                raise UserError(outcome.mistake)
        for number, outcome in outcomes.items():
            if outcome.fault:
                raise UserError(self._fault_message(number, outcome.fault))
        stopped = next((outcome.stopped for outcome in outcomes.values() if outcome.stopped), asked)
        if stopped:
            raise signals.Stopped(stopped)
        if self.failed is not None:
            raise UserError(self._death_message(self.failed))
        return next(outcome.trained for outcome in outcomes.values() if outcome.trained)

    def _fault_message(self, number: int, text: str) -> str:
        path = self.run / FAILED
        write_text(path, text)
        return (
            f"rank {number} of {self.devices} failed: {text.strip().splitlines()[-1]} "
            f"(its traceback is in {path}); go on from the last checkpoint with --resume"
        )

    def _death_message(self, error: ChildFailedError) -> str:
        number, failure = next(iter(error.failures.items()))
        killed = failure.exitcode < 0
        how = (
            f"was killed by {failure.signal_name()}" if killed else f"ended with exit code {failure.exitcode}"
        )
        if failure.exitcode == -signal.SIGKILL:
            how += " (often for want of memory: then take fewer devices, a smaller patch or batch)"
        return (
            f"rank {number} of {self.devices} {how}, so the others ended too; "
            "go on from the last checkpoint with --resume"
        )


def run_rank(folder: Path) -> int:
    """Train as one of the ranks; return the exit code."""
    number = int(os.environ["RANK"])
    write_text(folder / f"{number}.{NUMBER}", str(os.getpid()))
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    console.configure_logging()
    order = LaunchOrder.model_validate_json((folder / ORDER).read_bytes())
    try:
        config = validate_values(order.config, str(order.options.run))
        outcome = RankOutcome(trained=_train(config, order.options))
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
    """Send this process SIGTERM when its parent has ended."""
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    code = run_rank(Path(sys.argv[1]))
    if code:  # why is written: the others wait, and nothing is torn down that takes long or hangs
        os._exit(code)
