"""A measure's values, worked out by an executor's workers, or with the help of this machine's."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial

import numpy as np
import torch

from pytest_fragility._util.stopwatch import MEASURES, spent_on
from pytest_fragility.evaluation.calling import MeasuredHereWarning
from pytest_fragility.evaluation.evaluate import Asking, evaluate_size
from pytest_fragility.evaluation.remote import Answer, Networks, Question, answer
from pytest_fragility.families.trained_family import Family
from pytest_fragility.measures.asking_helpers import can_be_helped, with_helpers
from pytest_fragility.measures.asking_together import can_be_asked_together, together
from pytest_fragility.measures.failing import Failures
from pytest_fragility.measures.measure import Measure
from pytest_fragility.parallel import Batch, Executors
from pytest_fragility.parallel.failures import Failure, LostWorkerWarning
from pytest_fragility.parallel.pickling import dump, reason_not_to_dump

# from a recipe's name and a size to its values, by seed
Row = Callable[[str, int, Failures], list[float]]


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
    """Return what `evaluate` does, worked out as `begin` has it."""
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

    Parameters and errors are those of `evaluate`. This process works nothing out before it is
    waited for; executors are asked at once, and workers of this machine may be ahead. On a CUDA
    device, several recipes' may be worked out at once.

    Warns
    -----
    MeasuredHereWarning
        Where the measure cannot be sent to other processes.
    LostWorkerWarning
        Where work is lost with who had it, and done in this process.
    """
    chosen = family.sizes if sizes is None else sizes
    askings = {
        recipe: Asking(measure, name, family, recipe, scale, draw, timeout) for recipe in recipes
    }
    executors = family.executors
    if executors is not None and executors.open() and _can_be_sent(measure, name):
        row = _elsewhere(measure, family, executors, askings, chosen)
    elif can_be_helped(measure, family):
        row = with_helpers(measure, askings, chosen)
    elif can_be_asked_together(measure, family):
        row = together(measure, askings)
    else:
        row = _here(askings)
    return lambda recipe: _collect(chosen, partial(row, recipe))


def _here(askings: Mapping[str, Asking]) -> Row:
    return lambda recipe, n, failures: evaluate_size(askings[recipe], n, failures)


def _elsewhere(
    measure: Measure,
    family: Family,
    executors: Executors,
    askings: Mapping[str, Asking],
    sizes: Sequence[int],
) -> Row:
    """Return what waits for the answers of executors' workers, who are asked all at once."""
    code, threads = dump(measure, [measure]), torch.get_num_threads()
    questions = {
        (recipe, n): (code, Networks.packed(asking, n), dump(Question.of(asking, threads), []))
        for recipe, asking in askings.items()
        for n in sizes
    }
    batch = Batch(executors, answer, questions)

    @cache
    def warn_of_loss(name: str, reason: str) -> None:
        warnings.warn(
            f"an executor has lost work ({reason}), for which measure {name} is called on this "
            "machine",
            LostWorkerWarning,
            stacklevel=5,
        )

    def row(recipe: str, n: int, failures: Failures) -> list[float]:
        asking = askings[recipe]
        with spent_on(MEASURES, asking.name):
            reply = batch.reply((recipe, n))
        if isinstance(reply, Failure):
            reply.throw()
        if isinstance(reply, Answer):
            with spent_on(MEASURES, asking.name, len(asking.seeds)):
                return reply.noted(n, failures)
        # curves that are asked for when all else is done are nobody's loss
        if executors.open():
            warn_of_loss(asking.name, reply.reason)
        # the measure itself may have ended the processes that it was called in
        return evaluate_size(replace(asking, apart=True), n, failures)

    return row


def _collect(sizes: Sequence[int], row: Callable[[int, Failures], list[float]]) -> np.ndarray:
    """Return the values of all sizes, or raise what the measure fails with on any."""
    failures = Failures()
    rows = [row(n, failures) for n in sizes]
    failures.raise_if_any()
    return np.array(rows)


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
