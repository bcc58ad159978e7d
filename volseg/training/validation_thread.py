"""A thread that validates a copy of the weights beside training, where the device has room for both."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Self

import torch

from volseg.training.validation import RankScores, Validation

LEAST_FREE = 0.05
"""The share of a GPU's memory that stays free beside training and validation."""


class _DroppedError(Exception):
    """The end of a validation whose scores are wanted no more."""


class ValidationThread:
    """Scores a rank's scans by the weights that the validation has taken; one validation at a time.

    On a GPU all validations run on a stream of their own and keep its memory from one to the next. So the
    first, while training stands still, shows whether there is room for both.
    """

    def __init__(self, validation: Validation, device: torch.device) -> None:
        self.validation = validation
        self._device = device
        on_gpu = device.type == "cuda"
        self._stream = torch.cuda.Stream(device) if on_gpu else None  # type: ignore[no-untyped-call]
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="validation")
        self._dropped = threading.Event()
        self._future: Future[RankScores] | None = None
        self._retries: int | None = None

    @property
    def has_room(self) -> bool:
        """Whether a validation was tried, and the device has given back no memory for it and since."""
        if self._retries is None or self._retries != allocation_retries(self._device):
            return False
        return free_share(self._device) >= LEAST_FREE

    @property
    def unfinished(self) -> bool:
        """Whether a validation goes on in the thread."""
        return self._future is not None and not self._future.done()

    def score_here(self, after_each: Callable[[int, int], object]) -> RankScores:
        """The scores of this rank's scans, found while training waits; for `after_each` see Validation."""
        if self._retries is None:
            self._retries = allocation_retries(self._device)
        self._follow_training()
        with self._own_stream():
            return self.validation.score_own_scans(after_each)

    def begin(self) -> None:
        """Begin to score this rank's scans in the thread."""
        self._follow_training()
        self._future = self._pool.submit(self._score_in_thread)

    def wait(self, seconds: float) -> None:
        """Wait for the thread's scores, but not longer."""
        if self._future is not None:
            wait([self._future], timeout=seconds)

    def result(self) -> RankScores:
        """The thread's scores, or the exception that ended it; waits for them."""
        if self._future is None:
            raise AssertionError("no validation was begun")
        scores, self._future = self._future.result(), None
        return scores

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Drop what is unfinished, after the scan in work."""
        self._dropped.set()
        self._pool.shutdown()

    def _score_in_thread(self) -> RankScores:
        if self._stream is not None:  # a thread begins on the first GPU, and would make a context there
            torch.cuda.set_device(self._device)
        with self._own_stream():
            return self.validation.score_own_scans(self._end_if_dropped)

    def _end_if_dropped(self, _done: int, _count: int) -> None:
        if self._dropped.is_set():
            raise _DroppedError

    def _follow_training(self) -> None:
        """Have the stream wait until the weights are copied."""
        if self._stream is not None:
            self._stream.wait_stream(torch.cuda.current_stream(self._device))

    def _own_stream(self) -> AbstractContextManager[object]:
        return nullcontext() if self._stream is None else torch.cuda.stream(self._stream)


def allocation_retries(device: torch.device) -> int:
    """How often the allocator of a GPU was short of memory and gave back what it had kept; 0 on a CPU."""
    return int(torch.cuda.memory_stats(device)["num_alloc_retries"]) if device.type == "cuda" else 0


def free_share(device: torch.device) -> float:
    """The share of a GPU's memory that is free; 1 on a CPU."""
    if device.type != "cuda":
        return 1.0
    free, total = torch.cuda.mem_get_info(device)
    return free / total
