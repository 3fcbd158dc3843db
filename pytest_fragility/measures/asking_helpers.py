"""Measures of this package, worked out with the help of this machine's workers."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace

import torch

from pytest_fragility._util.stopwatch import MEASURES, spent_on
from pytest_fragility.errors import MeasureError
from pytest_fragility.evaluation.calling import is_own
from pytest_fragility.evaluation.evaluate import Asking, evaluate_size
from pytest_fragility.evaluation.helpers import (
    Key,
    OpenQuestions,
    Piece,
    Reply,
    helpers,
    idle_cores,
)
from pytest_fragility.families.trained_family import Family
from pytest_fragility.measures.failing import Failures
from pytest_fragility.measures.measure import Measure, is_constant
from pytest_fragility.parallel import Lost
from pytest_fragility.parallel.failures import Failure, LostWorkerWarning

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
