"""Workers of this machine that help to measure: each answers what nobody has answered yet.

Operations on a few small networks leave all cores but one idle, whatever number of threads they may
use, while the workers that have trained wait in processes of their own.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary, WeakSet, ref

import torch

from pytest_fragility.executors import Lost
from pytest_fragility.executors.failures import Failure
from pytest_fragility.executors.pickling import dump
from pytest_fragility.executors.workers import Worker, WorkerLostError, idle_workers
from pytest_fragility.measures.evaluation import Asking
from pytest_fragility.measures.in_worker import Place, answer_kept, get_ready
from pytest_fragility.measures.measure import Measure
from pytest_fragility.measures.questions import Answer, Networks, Question
from pytest_fragility.sharing import own_share
from pytest_fragility.stacks_of_runs import StacksOfRuns

# seconds of measuring after which a worker is worth the networks that it is sent, and its start
HELP_AFTER = 0.25
START_AFTER = 1.0

# recipe, size, and which of their networks
Key = tuple[str, int, int]
Reply = Answer | Failure | Lost


@dataclass(eq=False)
class Share:
    """What one process is asked at a time.

    Parameters
    ----------
    asking
        The measure and the networks.
    n
        Their size.
    """

    asking: Asking
    n: int
    place: Place = field(init=False)

    def __post_init__(self) -> None:
        stacks = self.asking.family.stacks
        self.place = stacks.number, stacks.number_of(self.asking.runs(self.n))


class Batch:
    """What a measure is asked, and what workers have answered.

    Parameters
    ----------
    measure
        One of this package's.
    shares
        By what the asker calls them. This process begins with the first, workers with the last.
    """

    def __init__(self, measure: Measure, shares: Mapping[Key, Share]) -> None:
        self.measure = measure
        self.code = dump(measure, [])
        self._shares = shares
        self._waiting = dict.fromkeys(shares)
        self._replies: dict[Key, Future[Reply]] = {}
        self._lock = threading.Lock()

    def take_here(self, key: Key) -> Future[Reply] | None:
        """Return what a worker answers, or None where this process is to answer."""
        with self._lock:
            self._waiting.pop(key, None)
            return self._replies.get(key)

    def take_for(self, known: set[Place]) -> tuple[Share, Future[Reply]] | None:
        """Return what a worker is to answer, or None where nothing is left.

        Parameters
        ----------
        known
            Networks that it has been asked about before: it may have worked out what is needed.
        """
        with self._lock:
            keys = list(reversed(self._waiting))
            if not keys:
                return None
            key = next((each for each in keys if self._shares[each].place in known), keys[0])
            del self._waiting[key]
            self._replies[key] = Future()
            return self._shares[key], self._replies[key]


class Helpers:
    """Workers that answer what batches ask, each in the care of a thread."""

    def __init__(self) -> None:
        # nobody waits for batches whose curves are gone
        self._batches: list[ref[Batch]] = []
        self._working: list[Worker] = []
        self._starting = 0
        self._has_lost = False
        self._seconds = 0.0
        self._known: WeakKeyDictionary[Worker, set[Place]] = WeakKeyDictionary()
        self._asked_about: WeakSet[StacksOfRuns] = WeakSet()
        self._lock = threading.Lock()

    def begin(self, batch: Batch) -> None:
        """Have a batch answered before all others; those of other measures no more."""
        with self._lock:
            others = [each for each in self._batches if _asks(each(), batch.measure)]
            self._batches = [ref(batch), *others]
        self._recruit()

    @contextmanager
    def beside(self) -> Iterator[None]:
        """Answer as workers do, on one core, so that nothing depends on who has answered."""
        self._recruit()
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        began = time.perf_counter()
        try:
            yield
        finally:
            self._seconds += time.perf_counter() - began
            torch.set_num_threads(threads)

    def end(self) -> None:
        """Kill the workers that are at work."""
        for worker in list(self._working):
            worker.kill()

    def forget(self) -> None:
        """Leave threads and workers to the process that this one was forked from."""
        self._batches, self._working, self._starting = [], [], 0
        self._lock = threading.Lock()

    def _recruit(self) -> None:
        """Have as many workers help as cores would be idle, if there is something to do."""
        with self._lock:
            # where one is lost, others may be: each start takes longer than most measures
            wanted = idle_cores() if self._batches and not self._has_lost else 0
            while len(self._working) + self._starting < wanted and self._seconds > (
                HELP_AFTER if idle_workers.is_any else START_AFTER
            ):
                self._starting += 1
                threading.Thread(target=self._help, daemon=True).start()

    def _help(self) -> None:
        worker: Worker | None = None
        try:
            try:
                worker = idle_workers.take()
                # a new one is ready when it has imported all that it needs
                list(worker.perform(get_ready))
            finally:
                with self._lock:
                    self._starting -= 1
                    if worker is not None:
                        self._working.append(worker)
            self._answer_by(worker)
        except WorkerLostError:
            # this process answers what it was asked
            self._has_lost = True
        finally:
            if worker is not None:
                with self._lock:
                    self._working.remove(worker)
                idle_workers.give_back(worker)

    def _answer_by(self, worker: Worker) -> None:
        known = self._known.setdefault(worker, set())
        while taken := self._take_for(known):
            batch, share, reply = taken
            try:
                reply.set_result(self._ask(worker, batch, share))
            except WorkerLostError as error:
                reply.set_result(Lost(str(error)))
                raise
            except Exception as error:
                reply.set_result(Failure.of(error))

    def _take_for(self, known: set[Place]) -> tuple[Batch, Share, Future[Reply]] | None:
        with self._lock:
            while self._batches:
                batch = self._batches[0]()
                taken = batch.take_for(known) if batch else None
                if batch and taken:
                    return batch, *taken
                self._batches.pop(0)
        return None

    def _ask(self, worker: Worker, batch: Batch, share: Share) -> Reply:
        known, asking = self._known[worker], share.asking
        networks = None if share.place in known else Networks.packed(asking, share.n)
        known.add(share.place)
        self._asked_about.add(asking.family.stacks)
        alive = {each.number for each in self._asked_about}
        question = dump(Question.of(asking, threads=1), [])
        try:
            (answer,) = worker.perform(
                answer_kept, batch.code, question, share.place, networks, alive
            )
        except Exception:
            # it may not have got as far as to keep them
            known.discard(share.place)
            raise
        reply: Answer | Failure = answer
        return reply


def _asks(batch: Batch | None, measure: Measure) -> bool:
    return batch is not None and batch.measure is measure


def idle_cores() -> int:
    """Return how many cores a measure in this process would leave to others."""
    return own_share().cores(torch.get_num_threads()) - 1


helpers = Helpers()
atexit.register(helpers.end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=helpers.forget)
