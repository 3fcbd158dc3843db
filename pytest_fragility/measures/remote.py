"""A measure's values, worked out by an executor's workers where a family has one."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import torch

from pytest_fragility.durations import MEASURES, spent_on
from pytest_fragility.errors import MeasureError
from pytest_fragility.executors import Batch, Executors
from pytest_fragility.executors.failures import Failure, LostWorkerWarning
from pytest_fragility.executors.parcels import Parcel, pack_runs
from pytest_fragility.executors.performing import load_sent
from pytest_fragility.executors.pickling import dump, reason_not_to_dump
from pytest_fragility.families import Family, FamilyPlan
from pytest_fragility.measures.evaluation import Asking, evaluate_size
from pytest_fragility.measures.failing import Failures
from pytest_fragility.measures.measure import Measure, is_oracle
from pytest_fragility.runs import Run
from pytest_fragility.training.devices import choose_device


class MeasuredHereWarning(UserWarning):
    """A measure cannot be sent to an executor's workers; it is called in this process."""


class Question(NamedTuple):
    """What a worker is asked: the values of a measure on the networks of one recipe and size.

    Parameters
    ----------
    name
        What error messages call the measure.
    recipe
        The recipe's name.
    scale, draw, timeout
        As `evaluate` takes them.
    device
        Where the networks live.
    threads
        How many of them an operation may use: with other numbers, sums are rounded otherwise.
    parcels
        The networks.
    """

    name: str
    recipe: str
    scale: str
    draw: int
    timeout: float | None
    device: str
    threads: int
    parcels: list[Parcel]


class Answer(NamedTuple):
    """A measure's values, one per seed, and by seed how it has failed."""

    values: list[float]
    failures: dict[int, Failure]


def measured(
    measure: Measure,
    name: str,
    family: Family,
    recipe: str,
    *,
    scale: str = "log",
    sizes: Sequence[int] | None = None,
    draw: int = 0,
    timeout: float | None = None,
) -> np.ndarray:
    """Return what `evaluate` does, worked out by the family's executors where it has some."""
    waiting = begin(
        measure, name, family, [recipe], scale=scale, sizes=sizes, draw=draw, timeout=timeout
    )
    return waiting(recipe)


def begin(
    measure: Measure,
    name: str,
    family: Family,
    recipes: Sequence[str],
    *,
    scale: str = "log",
    sizes: Sequence[int] | None = None,
    draw: int = 0,
    timeout: float | None = None,
) -> Callable[[str], np.ndarray]:
    """Have a measure's values under several recipes worked out, and return what waits for one's.

    Parameters and errors are those of `evaluate`; without executors, nothing is worked out before
    it is waited for.

    Warns
    -----
    MeasuredHereWarning
        Where the measure cannot be sent to other processes.
    LostWorkerWarning
        Where executors have lost work, which is done in this process.
    """
    chosen = family.sizes if sizes is None else sizes
    askings = {
        recipe: Asking(measure, name, family, recipe, scale, draw, timeout) for recipe in recipes
    }
    executors = family.executors
    if executors is None or not executors.open() or not _can_be_sent(measure, name):
        return lambda recipe: _collect(
            chosen, lambda n, failures: evaluate_size(askings[recipe], n, failures)
        )
    batch = _ask(measure, family, executors, list(askings.values()), chosen)

    @cache
    def warn_of_loss(reason: str) -> None:
        warnings.warn(
            f"an executor has lost work ({reason}), for which measure {name} is called in this "
            "process",
            LostWorkerWarning,
            stacklevel=4,
        )

    def row(recipe: str, n: int, failures: Failures) -> list[float]:
        with spent_on(MEASURES, name):
            reply = batch.reply((recipe, n))
        if isinstance(reply, Failure):
            reply.throw()
        if isinstance(reply, Answer):
            with spent_on(MEASURES, name, len(family.seeds_of(recipe))):
                return _values_of(reply, n, failures)
        # curves that are asked for when all else is done are nobody's loss
        if executors.open():
            warn_of_loss(reply.reason)
        return evaluate_size(askings[recipe], n, failures)

    return lambda recipe: _collect(chosen, lambda n, failures: row(recipe, n, failures))


def _collect(sizes: Sequence[int], row: Callable[[int, Failures], list[float]]) -> np.ndarray:
    """Return the values of all sizes, or raise what the measure fails with on any."""
    failures = Failures()
    rows = [row(n, failures) for n in sizes]
    failures.raise_if_any()
    return np.array(rows)


def _values_of(reply: Answer, n: int, failures: Failures) -> list[float]:
    for seed, failure in reply.failures.items():
        with failures.noting(n, seed):
            failure.throw()
    return reply.values


def _can_be_sent(measure: Measure, name: str) -> bool:
    reason = reason_not_to_dump(measure)
    if reason:
        warnings.warn(
            f"measure {name} cannot be sent to an executor's workers, so that it is called in this "
            f"process: {reason}",
            MeasuredHereWarning,
            stacklevel=2,
        )
    return not reason


def _ask(
    measure: Measure,
    family: Family,
    executors: Executors,
    askings: Sequence[Asking],
    sizes: Sequence[int],
) -> Batch[tuple[str, int]]:
    code = dump(measure, [measure])
    threads, device = torch.get_num_threads(), str(family.device)
    questions = {}
    for asking in askings:
        for n in sizes:
            trained = [family.trained_run(asking.recipe, n, seed) for seed in asking.seeds]
            runs = pack_runs([[each.run for each in trained]], with_test_data=is_oracle(measure))
            question = Question(
                name=asking.name,
                recipe=asking.recipe,
                scale=asking.scale,
                draw=asking.draw,
                timeout=asking.timeout,
                device=device,
                threads=threads,
                parcels=[Parcel.pack((0, place), each) for place, each in enumerate(trained)],
            )
            questions[asking.recipe, n] = (code, runs, dump(question, []))
    return Batch(executors, answer, questions)


def answer(code: bytes, runs: bytes, asked: bytes) -> Answer | Failure:
    """Return a measure's values at one size, or what its failure was; called in a worker."""
    measure: Measure = load_sent(code)
    question: Question = load_sent(asked)
    (planned,) = load_sent(runs)
    asking = Asking(
        measure,
        question.name,
        _family(planned, question),
        question.recipe,
        question.scale,
        question.draw,
        question.timeout,
    )
    failures = Failures()
    threads = torch.get_num_threads()
    torch.set_num_threads(question.threads)
    try:
        values = evaluate_size(asking, planned[0].n, failures)
    except MeasureError as error:
        return Failure.with_cause_alone(error)
    finally:
        torch.set_num_threads(threads)
    found = {seed: Failure.with_cause_alone(error) for (_, seed), error in failures.found.items()}
    return Answer(values, found)


def _family(runs: Sequence[Run], question: Question) -> Family:
    first, seeds = runs[0], tuple(run.seed for run in runs)
    plan = FamilyPlan(first.task, {question.recipe: first.recipe}, (first.n,), seeds)
    trained = {
        (question.recipe, run.n, run.seed): parcel.unpack(run)
        for run, parcel in zip(runs, question.parcels, strict=True)
    }
    return Family(plan, trained, choose_device(question.device))
