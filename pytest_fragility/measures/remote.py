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
from pytest_fragility.executors import Batch, Executors, Lost
from pytest_fragility.failures import Failure, LostWorkerWarning
from pytest_fragility.families import Family, FamilyPlan
from pytest_fragility.measures.evaluation import evaluate
from pytest_fragility.measures.measure import Measure, is_oracle
from pytest_fragility.parcels import Parcel, pack_runs
from pytest_fragility.performing import load_sent
from pytest_fragility.pickling import dump, reason_not_to_dump
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
    scale, draw
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
    device: str
    threads: int
    parcels: list[Parcel]


def measured(
    measure: Measure,
    name: str,
    family: Family,
    recipe: str,
    *,
    scale: str = "log",
    sizes: Sequence[int] | None = None,
    draw: int = 0,
) -> np.ndarray:
    """Return what `evaluate` does, worked out by the family's executors where it has some."""
    return begin(measure, name, family, [recipe], scale=scale, sizes=sizes, draw=draw)(recipe)


def begin(
    measure: Measure,
    name: str,
    family: Family,
    recipes: Sequence[str],
    *,
    scale: str = "log",
    sizes: Sequence[int] | None = None,
    draw: int = 0,
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

    def here(recipe: str, sizes: Sequence[int]) -> np.ndarray:
        return evaluate(measure, name, family, recipe, scale=scale, sizes=sizes, draw=draw)

    executors = family.executors
    if executors is None or not executors.open() or not _can_be_sent(measure, name):
        return lambda recipe: here(recipe, chosen)
    batch = _ask(measure, name, family, executors, recipes, chosen, scale, draw)

    @cache
    def warn_of_loss(reason: str) -> None:
        warnings.warn(
            f"an executor has lost work ({reason}), for which measure {name} is called in this "
            "process",
            LostWorkerWarning,
            stacklevel=4,
        )

    def row(recipe: str, n: int) -> np.ndarray:
        with spent_on(MEASURES, name):
            reply = batch.reply((recipe, n))
        if isinstance(reply, Failure):
            reply.throw()
        if not isinstance(reply, Lost):
            with spent_on(MEASURES, name, len(family.seeds)):
                return np.asarray(reply)
        # curves that are asked for when all else is done are nobody's loss
        if executors.open():
            warn_of_loss(reply.reason)
        return np.asarray(here(recipe, [n])[0])

    return lambda recipe: np.array([row(recipe, n) for n in chosen])


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
    name: str,
    family: Family,
    executors: Executors,
    recipes: Sequence[str],
    sizes: Sequence[int],
    scale: str,
    draw: int,
) -> Batch[tuple[str, int]]:
    code = dump(measure, [measure])
    threads, device = torch.get_num_threads(), str(family.device)
    questions = {}
    for recipe in recipes:
        for n in sizes:
            trained = [family.trained_run(recipe, n, seed) for seed in family.seeds]
            runs = pack_runs([[each.run for each in trained]], with_test_data=is_oracle(measure))
            parcels = [Parcel.pack((0, place), each) for place, each in enumerate(trained)]
            question = Question(name, recipe, scale, draw, device, threads, parcels)
            questions[recipe, n] = (code, runs, dump(question, []))
    return Batch(executors, answer, questions)


def answer(code: bytes, runs: bytes, asked: bytes) -> list[float] | Failure:
    """Return a measure's values, one per network, or what its failure was; called in a worker."""
    measure: Measure = load_sent(code)
    question: Question = load_sent(asked)
    (planned,) = load_sent(runs)
    family = _family(planned, question)
    threads = torch.get_num_threads()
    torch.set_num_threads(question.threads)
    try:
        values = evaluate(
            measure,
            question.name,
            family,
            question.recipe,
            scale=question.scale,
            draw=question.draw,
        )
    except MeasureError as error:
        return Failure.with_cause_alone(error)
    finally:
        torch.set_num_threads(threads)
    row: list[float] = values[0].tolist()
    return row


def _family(runs: Sequence[Run], question: Question) -> Family:
    first, seeds = runs[0], tuple(run.seed for run in runs)
    plan = FamilyPlan(first.task, {question.recipe: first.recipe}, (first.n,), seeds)
    trained = {
        (question.recipe, run.n, run.seed): parcel.unpack(run)
        for run, parcel in zip(runs, question.parcels, strict=True)
    }
    return Family(plan, trained, choose_device(question.device))
