"""Workers of this machine that help to measure: each answers what nobody has answered yet.

Operations on a few small networks leave all cores but one idle, whatever number of threads they may
use, while the workers that have trained wait in processes of their own.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from weakref import WeakKeyDictionary, WeakSet, ref

import torch

from pytest_fragility._util.stopwatch import MEASURES, spent_on
from pytest_fragility.errors import MeasureError
from pytest_fragility.evaluation.calling import Failures, is_own
from pytest_fragility.evaluation.evaluate import Asking, evaluate_size
from pytest_fragility.evaluation.remote import (
    Answer,
    Networks,
    Place,
    Question,
    answer_kept,
    get_ready,
)
from pytest_fragility.families.family import Family
from pytest_fragility.measures.measure import Measure, is_constant
from pytest_fragility.networks.stack_cache import StacksOfRuns
from pytest_fragility.parallel.cores import own_share
from pytest_fragility.parallel.failures import Failure, LostWorkerWarning
from pytest_fragility.parallel.futures import Lost
from pytest_fragility.parallel.local_processes import Worker, WorkerLostError, idle_workers
from pytest_fragility.parallel.pickling import dump

# seconds of measuring after which a worker is worth the networks that it is sent, and its start
HELP_AFTER = 0.25
START_AFTER = 1.0
# recipe, size, and which of their networks
Key = tuple[str, int, int]
Reply = Answer | Failure | Lost


@dataclass(eq=False)
class Piece:
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


class OpenQuestions:
    """What a measure is asked, and what workers have answered.

    Parameters
    ----------
    measure
        One of this package's.
    pieces
        By what the asker calls them. This process begins with the first, workers with the last.
    """

    def __init__(self, measure: Measure, pieces: Mapping[Key, Piece]) -> None:
        self.measure = measure
        self.code = dump(measure, [])
        self._pieces = pieces
        self._waiting = dict.fromkeys(pieces)
        self._replies: dict[Key, Future[Reply]] = {}
        self._lock = threading.Lock()

    def take_here(self, key: Key) -> Future[Reply] | None:
        """Return what a worker answers, or None where this process is to answer."""
        with self._lock:
            self._waiting.pop(key, None)
            return self._replies.get(key)

    def take_for(self, known: set[Place]) -> tuple[Piece, Future[Reply]] | None:
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
            key = next((each for each in keys if self._pieces[each].place in known), keys[0])
            del self._waiting[key]
            self._replies[key] = Future()
            return self._pieces[key], self._replies[key]


class Helpers:
    """Workers that answer open questions, each in the care of a thread."""

    def __init__(self) -> None:
        # nobody waits for answers where the curves are gone
        self._questions: list[ref[OpenQuestions]] = []
        self._working: list[Worker] = []
        self._starting = 0
        self._has_lost = False
        self._seconds = 0.0
        self._known: WeakKeyDictionary[Worker, set[Place]] = WeakKeyDictionary()
        self._asked_about: WeakSet[StacksOfRuns] = WeakSet()
        self._lock = threading.Lock()

    def begin(self, questions: OpenQuestions) -> None:
        """Have questions answered before all others; those to other measures no more."""
        with self._lock:
            others = [each for each in self._questions if _asks(each(), questions.measure)]
            self._questions = [ref(questions), *others]
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
        self._questions, self._working, self._starting = [], [], 0
        self._lock = threading.Lock()

    def _recruit(self) -> None:
        """Have as many workers help as cores would be idle, if there is something to do."""
        with self._lock:
            # where one is lost, others may be: each start takes longer than most measures
            wanted = idle_cores() if self._questions and not self._has_lost else 0
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
            questions, piece, reply = taken
            try:
                reply.set_result(self._ask(worker, questions, piece))
            except WorkerLostError as error:
                reply.set_result(Lost(str(error)))
                raise
            except Exception as error:
                reply.set_result(Failure.of(error))

    def _take_for(self, known: set[Place]) -> tuple[OpenQuestions, Piece, Future[Reply]] | None:
        with self._lock:
            while self._questions:
                questions = self._questions[0]()
                taken = questions.take_for(known) if questions else None
                if questions and taken:
                    return questions, *taken
                self._questions.pop(0)
        return None

    def _ask(self, worker: Worker, questions: OpenQuestions, piece: Piece) -> Reply:
        known, asking = self._known[worker], piece.asking
        networks = None if piece.place in known else Networks.packed(asking, piece.n)
        known.add(piece.place)
        self._asked_about.add(asking.family.stacks)
        alive = {each.number for each in self._asked_about}
        question = dump(Question.of(asking, threads=1), [])
        try:
            (answer,) = worker.perform(
                answer_kept, questions.code, question, piece.place, networks, alive
            )
        except Exception:
            # it may not have got as far as to keep them
            known.discard(piece.place)
            raise
        reply: Answer | Failure = answer
        return reply


def _asks(questions: OpenQuestions | None, measure: Measure) -> bool:
    return questions is not None and questions.measure is measure


def idle_cores() -> int:
    """Return how many cores a measure in this process would leave to others."""
    return own_share().cores(torch.get_num_threads()) - 1


helpers = Helpers()


atexit.register(helpers.end)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=helpers.forget)


# parameters: one operation on larger networks has work for all cores
SMALL_NETWORK = 1 << 18


def can_be_helped(measure: Measure, family: Family) -> bool:
    """Return whether workers may be asked about a measure, and would say the same as this process.

    That is so for this package's own measures, which do nothing else, of small networks on the CPU,
    where torch computes as it does by default.
    """
    is_plain = (
        torch.get_default_dtype() == torch.float32
        and torch.get_float32_matmul_precision() == "highest"
    )
    is_on_cpu = family.device.type == "cpu" and idle_cores() > 0
    return is_own(measure) and is_plain and is_on_cpu and _size(family) <= SMALL_NETWORK


def _size(family: Family) -> int:
    """Return how many parameters the largest network has."""
    firsts = (
        family.trained_run(recipe, family.sizes[0], family.seeds_of(recipe)[0])
        for recipe in family.judged
    )
    return max(sum(weight.numel() for weight in run.weights.values()) for run in firsts)


def with_helpers(
    measure: Measure, askings: Mapping[str, Asking], sizes: Sequence[int]
) -> Callable[[str, int, Failures], list[float]]:
    """Return what gives a recipe's values at a size, as this process or a worker answers.

    Parameters
    ----------
    measure
        What is asked.
    askings
        By recipe's name; workers may answer what is never asked for.
    sizes
        All that may be asked for.
    """
    pieces = {
        (recipe, n, place): Piece(asking, n)
        for recipe, whole in askings.items()
        for n in sizes
        for place, asking in enumerate(_parts(measure, whole))
    }
    questions = OpenQuestions(measure, pieces)
    helpers.begin(questions)
    answers: dict[Key, _Answered] = {}

    def answer_what_is_left(recipe: str) -> None:
        # the largest networks first, so that at the end nobody waits long for anybody
        for key in reversed([key for key in pieces if key[0] == recipe]):
            if key not in answers and questions.take_here(key) is None:
                answers[key] = _Answered.here(pieces[key])

    def part(key: Key, failures: Failures) -> list[float]:
        if key not in answers:
            answers[key] = _Answered.by_worker(pieces[key], questions.take_here(key))
        return answers[key].noted(failures)

    def row(recipe: str, n: int, failures: Failures) -> list[float]:
        answer_what_is_left(recipe)
        keys = [key for key in pieces if key[:2] == (recipe, n)]
        if len(keys) == 1:
            return part(keys[0], failures)
        try:
            return [value for key in keys for value in part(key, Failures())]
        except MeasureError:
            # the networks together tell what is to be said of them
            return evaluate_size(askings[recipe], n, failures)

    return row


@dataclass(frozen=True)
class _Answered:
    """What a measure says of a piece.

    Parameters
    ----------
    values
        One per seed; none where it fails on all.
    failed
        By n and seed, how it fails on single networks.
    error
        How it fails on all.
    """

    values: list[float]
    failed: Mapping[tuple[int, int], MeasureError]
    error: MeasureError | None = None

    @classmethod
    def here(cls, piece: Piece) -> _Answered:
        """Ask in this process."""
        failures = Failures()
        try:
            with helpers.beside():
                values = evaluate_size(piece.asking, piece.n, failures)
        except MeasureError as error:
            return cls([], failures.found, error)
        return cls(values, failures.found)

    @classmethod
    def by_worker(cls, piece: Piece, reply: Future[Reply] | None) -> _Answered:
        """Wait for a worker's answer; where it is lost, ask here."""
        assert reply
        asking, failures = piece.asking, Failures()
        with spent_on(MEASURES, asking.name) as spent:
            found = reply.result()
            spent.networks += 0 if isinstance(found, Lost) else len(asking.seeds)
        if isinstance(found, Lost):
            warnings.warn(
                f"a worker process ended early ({found.reason}); measure {asking.name} is called "
                "in this process",
                LostWorkerWarning,
                stacklevel=6,
            )
            return cls.here(piece)
        try:
            if isinstance(found, Failure):
                found.throw()
            values = found.noted(piece.n, failures)
        except MeasureError as error:
            return cls([], failures.found, error)
        return cls(values, failures.found)

    def noted(self, failures: Failures) -> list[float]:
        """Return the values, and note the failures among those on other networks of the curve."""
        for (n, seed), failure in self.failed.items():
            with failures.noting(n, seed):
                raise failure
        if self.error:
            raise self.error
        return self.values


def _parts(measure: Measure, asking: Asking) -> list[Asking]:
    """Return what is asked at a time; of data alone, about one network, as that takes long."""
    if not is_constant(measure):
        return [asking]
    return [replace(asking, some_seeds=(seed,)) for seed in asking.seeds]
