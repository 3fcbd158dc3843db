"""A measure's values on a family's networks, whoever works them out."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from weakref import WeakSet

import numpy as np
import torch

from pytest_fragility._util.stopwatch import MEASURES, spent_on
from pytest_fragility.errors import MeasureError
from pytest_fragility.evaluation.calling import MeasuredHereWarning
from pytest_fragility.evaluation.evaluate import Asking, Failures, evaluate_size
from pytest_fragility.evaluation.helpers import can_be_helped, helpers
from pytest_fragility.evaluation.remote import Answer, Sent, answer, pack
from pytest_fragility.evaluation.together import Row, can_be_asked_together, together
from pytest_fragility.families.family import Family
from pytest_fragility.measures.measure import Measure, is_constant
from pytest_fragility.networks.stack_cache import StacksOfRuns
from pytest_fragility.parallel.failures import Failure
from pytest_fragility.parallel.futures import Executors
from pytest_fragility.parallel.pickling import dump, reason_not_to_dump
from pytest_fragility.parallel.pool import Job, Lost, Replies

# a recipe, a size, and which of their networks
Key = tuple[str, int, int]
Piece = tuple[Asking, int]


def evaluate(
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
    """Return a measure's values under one recipe: shape (sizes, seeds), float64.

    Parameters
    ----------
    measure
        Called once per network, each time on a copy of its own; a `StackMeasure` once per size, on
        all seeds' networks together.
    name
        What error messages call it.
    family
        Where the networks come from.
    recipe
        The recipe's name.
    scale
        ``"log"`` demands positive values, ``"linear"`` finite ones.
    sizes
        Some of the family's; None takes all.
    draw
        Which random numbers a measure gets that draws some; an audit takes the first, 0.
    timeout
        Seconds that it may take for a network; None has no limit.

    Raises
    ------
    MeasureError
        If the measure raises, takes too long, or returns anything but one usable real number; the
        runs are named. It is asked about the others all the same, but where it fails on many.

    Warns
    -----
    MeasuredHereWarning
        Where the measure cannot be sent to other processes.
    LostWorkerWarning
        Where work is lost with who had it, and done here.
    """
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

    Parameters, errors and warnings are those of `evaluate`. This process works nothing out before
    it is waited for; executors are asked at once, and workers of this machine may be ahead. On a
    CUDA device, several recipes' may be worked out at once.
    """
    chosen = family.sizes if sizes is None else sizes
    askings = {
        recipe: Asking(measure, name, family, recipe, scale, draw, timeout) for recipe in recipes
    }
    executors = family.executors
    row: Row
    if executors is not None and executors.open() and _can_be_sent(measure, name):
        row = _by_executors(measure, askings, chosen, executors)
    elif can_be_helped(measure, family):
        row = _with_helpers(measure, askings, chosen)
    elif can_be_asked_together(measure, family):
        row = together(measure, askings)
    else:

        def row(recipe: str, n: int, failures: Failures) -> list[float]:
            return evaluate_size(askings[recipe], n, failures)

    def values(recipe: str) -> np.ndarray:
        failures = Failures()
        rows = [row(recipe, n, failures) for n in chosen]
        failures.raise_if_any()
        return np.array(rows)

    return values


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


def _by_executors(
    measure: Measure, askings: Mapping[str, Asking], sizes: Sequence[int], executors: Executors
) -> Row:
    """Return what waits for the answers of executors' workers, who are asked all at once."""
    pieces = {(name, n, 0): (asking, n) for name, asking in askings.items() for n in sizes}
    code, threads = dump(measure, [measure]), torch.get_num_threads()
    jobs = {
        key: Job((code, asking.options, threads, None), partial(_sent, asking, n))
        for key, (asking, n) in pieces.items()
    }
    return _Asked(askings, pieces, executors.begin(answer, jobs), _ask_apart).row


def _ask_apart(asking: Asking, n: int) -> Answer:
    """Ask in a process of its own: the measure itself may have ended those it was called in."""
    return Answer.of(replace(asking, apart=True), n)


def _with_helpers(measure: Measure, askings: Mapping[str, Asking], sizes: Sequence[int]) -> Row:
    """Return what gives values as this process or a worker of this machine answers.

    This process begins with the first, workers with the last.
    """
    pieces = {
        (recipe, n, place): (asking, n)
        for recipe, whole in askings.items()
        for n in sizes
        for place, asking in enumerate(_parts(measure, whole))
    }
    code = dump(measure, [])
    jobs = {}
    for key, (asking, n) in reversed(pieces.items()):
        stacks = asking.family.stacks
        _asked_about.add(stacks)
        place = stacks.number, stacks.number_of(asking.runs(n))
        jobs[key] = Job((code, asking.options, 1, place), partial(_sent, asking, n), place)
    return _Asked(askings, pieces, helpers.ask(measure, jobs), _ask_beside).row


def _ask_beside(asking: Asking, n: int) -> Answer:
    with helpers.beside():
        return Answer.of(asking, n)


def _parts(measure: Measure, asking: Asking) -> list[Asking]:
    """Return what is asked at a time; of data alone, about one network, as that takes long."""
    if not is_constant(measure):
        return [asking]
    return [replace(asking, some_seeds=(seed,)) for seed in asking.seeds]


_asked_about: WeakSet[StacksOfRuns] = WeakSet()


def _sent(asking: Asking, n: int) -> Sent:
    """Return networks to be sent, and which others may be asked about again."""
    return pack(asking, n), {each.number for each in _asked_about}


class _Asked:
    """What a measure is asked, piece by piece, and what this process or others answer.

    Parameters
    ----------
    askings
        By recipe's name; others may answer what is never asked for.
    pieces
        What is asked at a time: a whole recipe and size, or a part of its networks.
    replies
        The others' answers.
    here
        Asks in this process, what nobody has begun or was lost.
    """

    def __init__(
        self,
        askings: Mapping[str, Asking],
        pieces: Mapping[Key, Piece],
        replies: Replies[Key],
        here: Callable[[Asking, int], Answer],
    ) -> None:
        self._askings = askings
        self._pieces = pieces
        self._replies = replies
        self._here = here
        self._answers: dict[Key, Answer] = {}

    def row(self, recipe: str, n: int, failures: Failures) -> list[float]:
        """Return a recipe's values at a size."""
        # the largest networks first, so that at the end nobody waits long for anybody
        for key in reversed([key for key in self._pieces if key[0] == recipe]):
            if key not in self._answers and self._replies.take_back(key):
                self._answers[key] = self._here(*self._pieces[key])
        keys = [key for key in self._pieces if key[:2] == (recipe, n)]
        if len(keys) == 1:
            return self._answer(keys[0]).noted(n, failures)
        try:
            return [value for key in keys for value in self._answer(key).noted(n, Failures())]
        except MeasureError:
            # the networks together tell what is to be said of them
            return evaluate_size(self._askings[recipe], n, failures)

    def _answer(self, key: Key) -> Answer:
        """Return what others say of a piece; where it is lost, ask here."""
        if key not in self._answers:
            asking, n = self._pieces[key]
            with spent_on(MEASURES, asking.name) as spent:
                reply = self._replies.get(key)
                spent.networks += 0 if isinstance(reply, Lost) else len(asking.seeds)
            if isinstance(reply, Failure):
                reply.throw()
            if isinstance(reply, Lost):
                what = f"; measure {asking.name} is called on this machine"
                self._replies.warn_of_loss(reply, what)
                reply = self._here(asking, n)
            self._answers[key] = reply
        return self._answers[key]
