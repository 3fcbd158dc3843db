"""Sections of a page made side by side: in this process, and by workers that wait."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from pytest_fragility.parallel.failures import LostWorkerWarning
from pytest_fragility.parallel.local_processes import Worker, WorkerLostError, idle_workers
from pytest_fragility.report.documents import Document
from pytest_fragility.report.page.sections import Section, section_of

# a section's number, and its audit
Numbered = tuple[int, Document]


def sections_of(audits: Sequence[Document]) -> list[Section]:
    """Return a section for each audit, whoever makes it.

    Each takes seconds, nearly all of them matplotlib's. Workers that wait since a training or a
    measure take part; none is started.

    Parameters
    ----------
    audits
        Of a document.

    Warns
    -----
    LostWorkerWarning
        Where a worker has ended early; what it had is made here.
    """
    waiting = deque(enumerate(audits, 1))
    made: dict[int, Section] = {}
    workers = _waiting_workers(len(audits) - 1)
    with ThreadPoolExecutor(max(1, len(workers))) as pool:
        helping = [pool.submit(_make_by, worker, waiting, made) for worker in workers]
        try:
            _make_here(waiting, made)
            lost = [reason for each in helping if (reason := each.result())]
        except BaseException:
            waiting.clear()
            for worker in workers:
                worker.kill()
            raise
    for reason in lost:
        warnings.warn(
            f"a worker process ended early ({reason}); this process goes on without it",
            LostWorkerWarning,
            stacklevel=2,
        )
    # what was lost with a worker
    _make_here(waiting, made)
    return [made[number] for number in sorted(made)]


def make_section(audit: Document, number: int) -> Iterator[Section]:
    """Yield a section; called in a worker process."""
    yield section_of(audit, number)


def _waiting_workers(most: int) -> list[Worker]:
    found: list[Worker] = []
    while len(found) < most and (worker := idle_workers.take_waiting()):
        found.append(worker)
    return found


def _make_here(waiting: deque[Numbered], made: dict[int, Section]) -> None:
    while taken := _next(waiting):
        number, audit = taken
        made[number] = section_of(audit, number)


def _make_by(worker: Worker, waiting: deque[Numbered], made: dict[int, Section]) -> str:
    """Have a worker make what nobody has taken yet; return why it was lost, if it was."""
    try:
        while taken := _next(waiting):
            number, audit = taken
            try:
                (made[number],) = worker.perform(make_section, audit, number)
            except WorkerLostError as error:
                waiting.append(taken)
                return str(error)
    finally:
        idle_workers.give_back(worker)
    return ""


def _next(waiting: deque[Numbered]) -> Numbered | None:
    try:
        return waiting.popleft()
    except IndexError:
        return None
