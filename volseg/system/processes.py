"""Work in processes and threads; an item whose process died is named."""

import multiprocessing
import os
import signal
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.context import BaseContext
from typing import TypeVar

from volseg.system import hardware

LONGEST = 70  # bytes of the temporary folder; the names that Python adds make 103, of 107 that sockets have
Item = TypeVar("Item")
Given = TypeVar("Given")
Made = TypeVar("Made")
Outcome = TypeVar("Outcome")


def map_unordered(
    task: Callable[[Item], Outcome],
    items: Sequence[Item],
    *,
    workers: int,
    died: Callable[[Item], Outcome],
    begun: Callable[[Item], None] = lambda item: None,  # noqa: ARG005
) -> Generator[tuple[int, Outcome], None, None]:
    """Yield position and outcome of each item as soon as it is finished.

    `died(item)` is the outcome of an item that killed its worker; `begun` is told of each that a worker is
    given. With one worker, all work is done in this process. On Ctrl-C the items in work are finished and the
    others dropped.
    """
    if min(workers, len(items)) <= 1:
        for position, item in enumerate(items):
            begun(item)
            yield position, task(item)
        return
    waiting = deque(range(len(items)))
    while waiting:
        suspects: list[int] = []
        yield from _run_until_crash(task, items, waiting, suspects, workers=workers, begun=begun)
        for position in suspects:  # one of them killed its worker: each gets a worker of its own
            alone, guilty = deque([position]), list[int]()
            yield from _run_until_crash(task, items, alone, guilty, workers=1, begun=begun)
            if guilty:
                yield position, died(items[position])


def run_in_subprocess(task: Callable[[Item], Outcome], item: Item) -> Outcome:
    """The result or exception of a task in a process of its own, whose memory is freed with it."""
    pool = ProcessPoolExecutor(1, mp_context=_worker_context(), initializer=_init_worker)
    try:
        with _held_interrupts():
            future = pool.submit(task, item)
        return future.result()
    finally:
        with _held_interrupts():
            pool.shutdown(wait=True, cancel_futures=True)


def pipelined(
    items: Sequence[Item],
    before: Callable[[Item], Given],
    here: Callable[[Given], Made],
    after: Callable[[Made], Outcome],
    *,
    beside: Callable[[Given], bool],
) -> Generator[Outcome, None, None]:
    """`after(here(before(item)))` of each item, in order.

    `here` runs in this thread; meanwhile `before` prepares the next item and `after` finishes the last, if
    `beside(before(item))` says that there is room. On an exception, such as Ctrl-C, begun work is finished.
    """
    waiting, begun, ended = deque(items), deque[Future[Given]](), deque[Future[Outcome]]()
    with ThreadPoolExecutor(1) as preparing, ThreadPoolExecutor(1) as finishing:
        while waiting or begun:
            if not begun:
                begun.append(preparing.submit(before, waiting.popleft()))
            given = begun.popleft().result()
            together = beside(given)
            if together and waiting:
                begun.append(preparing.submit(before, waiting.popleft()))
            if not together:
                yield from _drain_results(ended)
            made = here(given)
            yield from _drain_results(ended)
            ended.append(finishing.submit(after, made))
        yield from _drain_results(ended)


def _drain_results(futures: deque[Future[Outcome]]) -> Iterator[Outcome]:
    while futures:
        yield futures.popleft().result()


def prefetch(items: Iterator[Item]) -> Iterator[Item]:
    """The same items, the next of which is computed in a thread while one is used."""
    end = object()
    with ThreadPoolExecutor(1) as making:
        future = making.submit(next, items, end)
        while (item := future.result()) is not end:
            future = making.submit(next, items, end)
            yield item  # type: ignore[misc]


def preload(modules: Sequence[str]) -> None:
    """Begin to load modules in the process that all workers are forked from.

    Nothing happens on one core, or where the system starts each worker anew.
    """
    context = _worker_context()
    if hardware.available_cores() > 1 and context.get_start_method() == "forkserver":
        from multiprocessing import forkserver, resource_tracker

        resource_tracker.ensure_running()  # its start lets Ctrl-C through again: not while it is held
        context.set_forkserver_preload(list(modules))
        with _held_interrupts():
            forkserver.ensure_running()


def _run_until_crash(
    task: Callable[[Item], Outcome],
    items: Sequence[Item],
    waiting: deque[int],
    suspects: list[int],
    *,
    workers: int,
    begun: Callable[[Item], None],
) -> Iterator[tuple[int, Outcome]]:
    """Outcomes of `waiting` until a worker dies; the items that were in work then are in `suspects`."""
    pool = ProcessPoolExecutor(workers, mp_context=_worker_context(), initializer=_init_worker)
    running: dict[Future[Outcome], int] = {}
    try:
        while waiting or running:
            while waiting and len(running) <= workers:  # one waits, so that no worker has to
                begun(items[waiting[0]])
                with _held_interrupts():
                    future = pool.submit(task, items[waiting[0]])
                running[future] = waiting.popleft()
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                outcome = future.result()
                yield running.pop(future), outcome
    except BrokenProcessPool:
        suspects += running.values()
    finally:
        with _held_interrupts():  # a second Ctrl-C would leave workers that nobody tells to end
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _held_interrupts() -> Iterator[None]:
    """Block Ctrl-C; processes that are started meanwhile never get it and so finish their item."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    earlier = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, earlier)


def _worker_context() -> BaseContext:
    """The start of workers: forked from a small process with preloaded modules, else spawned.

    Never forked from this process: a copy would hold the locks of its threads for ever. The small process
    listens at a socket in the temporary folder, whose path must be short.
    """
    methods = multiprocessing.get_all_start_methods()
    try:
        has_socket = len(os.fsencode(tempfile.gettempdir())) <= LONGEST
    except OSError:  # no folder can be written
        has_socket = False
    return multiprocessing.get_context("forkserver" if has_socket and "forkserver" in methods else "spawn")


def _init_worker() -> None:
    """Leave Ctrl-C to the parent, and end with it instead of waiting for work for ever."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
