"""Several iterators at once, each in a thread of its own."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def run_in_threads(jobs: Sequence[Callable[[], Iterator[T]]], threads: int) -> Iterator[T]:
    """Yield what all jobs yield, as it comes; jobs are started in order, `threads` at a time.

    An exception in a job is raised here, and ends the others at their next item, as does closing
    this iterator.
    """
    waiting: queue.SimpleQueue[Callable[[], Iterator[T]]] = queue.SimpleQueue()
    for job in jobs:
        waiting.put(job)
    results: queue.SimpleQueue[tuple[str, T | BaseException | None]] = queue.SimpleQueue()
    stop = threading.Event()

    def work() -> None:
        try:
            while not stop.is_set():
                for item in waiting.get_nowait()():
                    if stop.is_set():
                        return
                    results.put(("item", item))
        except queue.Empty:
            pass
        except BaseException as error:
            results.put(("error", error))
        finally:
            results.put(("end", None))

    workers = [threading.Thread(target=work, daemon=True) for _ in range(min(threads, len(jobs)))]
    for worker in workers:
        worker.start()
    running = len(workers)
    try:
        while running:
            kind, value = results.get()
            if kind == "end":
                running -= 1
            elif kind == "error":
                assert isinstance(value, BaseException)
                raise value
            else:
                yield value  # type: ignore[misc]
    finally:
        stop.set()
        for worker in workers:
            worker.join()
