"""A measure's values, worked out by an executor's workers, or with the help of this machine's."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from itertools import accumulate

import numpy as np
import torch

from pytest_fragility._util.stopwatch import MEASURES, spent_on
from pytest_fragility.errors import MeasureError, UndefinedMeasureError
from pytest_fragility.evaluation.calling import Failures, MeasuredHereWarning, is_own
from pytest_fragility.evaluation.evaluate import (
    Asking,
    as_measures_expect,
    ask_stack,
    evaluate_size,
)
from pytest_fragility.evaluation.helpers import can_be_helped, with_helpers
from pytest_fragility.evaluation.remote import Answer, Networks, Question, answer
from pytest_fragility.families.family import Family
from pytest_fragility.measures.measure import Measure
from pytest_fragility.measures.stacked import ARCHITECTURE, StackMeasure
from pytest_fragility.parallel.failures import Failure, LostWorkerWarning
from pytest_fragility.parallel.futures import Batch, Executors
from pytest_fragility.parallel.pickling import dump, reason_not_to_dump
from pytest_fragility.training.stacked_forms import stacked_form

# what the networks asked about at once keep of their samples in a backward pass, and weigh
TOGETHER_BYTES = 1 << 29


def can_be_asked_together(measure: Measure, family: Family) -> bool:
    """Return whether a measure may be asked about networks of several recipes at once.

    That is so for this package's own measures that look at nothing of a recipe, of networks trained
    here that live on a CUDA device.
    """
    is_blind = isinstance(measure, StackMeasure) and ARCHITECTURE not in measure.reads
    return is_blind and is_own(measure) and family.device.type == "cuda" and not family.source


def together(
    measure: Measure, askings: Mapping[str, Asking]
) -> Callable[[str, int, Failures], list[float]]:
    """Return what gives a recipe's values at a size, worked out together with other recipes'.

    Parameters
    ----------
    measure
        What is asked; see `can_be_asked_together`.
    askings
        By recipe's name; what is never asked for may be worked out.
    """
    known: dict[tuple[str, int], list[float] | None] = {}

    def row(recipe: str, n: int, failures: Failures) -> list[float]:
        if (recipe, n) not in known:
            unknown = {name: each for name, each in askings.items() if (name, n) not in known}
            known.update(_values(measure, _group(recipe, unknown, n), n))
        values = known[recipe, n]
        # where it fails on one of a group, it is asked recipe by recipe, to tell which
        return evaluate_size(askings[recipe], n, failures) if values is None else values

    return row


def _group(recipe: str, askings: Mapping[str, Asking], n: int) -> dict[str, Asking]:
    """Return a recipe, and those that stack with it, as many as memory is meant for."""
    first = askings[recipe]
    alike = {name: each for name, each in askings.items() if _shape(each) == _shape(first)}
    ordered = {recipe: first, **alike}
    counts = accumulate(len(each.seeds) for each in ordered.values())
    room = TOGETHER_BYTES // _bytes(first, n)
    return {
        name: each
        for (name, each), count in zip(ordered.items(), counts, strict=True)
        if name == recipe or count <= room
    }


def _shape(asking: Asking) -> Hashable:
    """Return what networks have in common that can share a stack."""
    recipe = asking.family.recipes[asking.recipe]
    return recipe.architecture, recipe.precision


def _bytes(asking: Asking, n: int) -> int:
    """Return about how much memory a network takes while a measure looks at it."""
    run = asking.runs(n)[0]
    of_sample = stacked_form(run.run.recipe, run.run.task.data).sample_bytes
    weights = sum(each.numel() * each.element_size() for each in run.weights.values())
    return n * of_sample + weights


def _values(
    measure: Measure, group: Mapping[str, Asking], n: int
) -> dict[tuple[str, int], list[float] | None]:
    """Return each recipe's values from one call for all; None where they are to be asked alone."""
    unanswered: dict[tuple[str, int], list[float] | None] = {(name, n): None for name in group}
    if len(group) == 1:
        return unanswered
    assert isinstance(measure, StackMeasure)
    first = next(iter(group.values()))
    runs = [run for asking in group.values() for run in asking.runs(n)]
    with spent_on(MEASURES, first.name) as spent, as_measures_expect():
        stack = first.family.stacks.of(runs).with_draw(first.draw)
        try:
            values = ask_stack(
                measure,
                stack,
                lambda *_: first.where(n),
                scale=first.scale,
                timeout=first.timeout,
            )
        except (UndefinedMeasureError, MeasureError):
            return unanswered
        spent.networks += len(runs)
    ends = [*accumulate(len(asking.seeds) for asking in group.values())]
    begins = [0, *ends[:-1]]
    return {
        (name, n): values[begin:end] for name, begin, end in zip(group, begins, ends, strict=True)
    }


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
