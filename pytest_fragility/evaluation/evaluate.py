"""Calling a measure on a network, and holding it to its word: one real number, nothing changed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from pytest_fragility._util.stopwatch import MEASURES, spent_on
from pytest_fragility.errors import MeasureError, UndefinedMeasureError
from pytest_fragility.evaluation.calling import call
from pytest_fragility.families.family import Family
from pytest_fragility.measures.adapters import as_measure, call_form
from pytest_fragility.measures.measure import Measure, is_oracle
from pytest_fragility.measures.stacked import StackMeasure
from pytest_fragility.measures.values import require_usable
from pytest_fragility.networks.runs import TrainedRun
from pytest_fragility.networks.stacks import NetworkStack
from pytest_fragility.parallel.thread_limits import own_cores


def ask_stack(
    measure: StackMeasure,
    stack: NetworkStack,
    where: Callable[..., str],
    *,
    scale: str = "log",
    timeout: float | None = None,
    apart: bool = False,
) -> list[float]:
    """Return a measure's value of each network from one call.

    Parameters
    ----------
    measure
        What is asked.
    stack
        The networks.
    where
        Maps the places of networks to what messages on them begin with.
    scale
        ``"log"`` demands positive values, ``"linear"`` finite ones.
    timeout
        Seconds that it may take for a network; None has no limit.
    apart
        Whether it is asked in a process of its own without a limit too.

    Raises
    ------
    UndefinedMeasureError
        If the measure says that it is not defined for a network; it has its place.
    MeasureError
        If it raises anything else, takes too long, returns what is not usable, or changes the
        stack.
    """
    every = range(len(stack))
    limit = None if timeout is None else timeout * len(stack)
    values: list[float] = call(measure, stack, where(*every), limit=limit, apart=apart)
    for place, value in enumerate(values):
        require_usable(value, partial(where, place), scale)
    return values


# a measure that fails on so many networks of a curve is not asked about the others
MANY = 3


class Failures:
    """The networks of one curve on which a measure has failed; `found` has errors by n and seed."""

    def __init__(self) -> None:
        self.found: dict[tuple[int, int], MeasureError] = {}

    @contextmanager
    def noting(self, n: int, seed: int) -> Iterator[None]:
        """Go on after a failure on this network, unless there are many.

        Raises
        ------
        MeasureError
            If there are.
        """
        try:
            yield
        except MeasureError as error:
            self.found[n, seed] = error
            if len(self.found) == MANY:
                self._raise(is_whole=False)

    def raise_if_any(self) -> None:
        """Raise the first failure, with the others told.

        Raises
        ------
        MeasureError
            If the measure has failed; it knows with which seeds.
        """
        if self.found:
            self._raise(is_whole=True)

    def _raise(self, *, is_whole: bool) -> None:
        first = next(iter(self.found.values()))
        others = [f"n={n}, seed {seed}" for n, seed in list(self.found)[1:]]
        text = str(first)
        if others:
            text += f". It fails too on {' and on '.join(others)}"
        if not is_whole:
            text += ", and is not asked about more"
        seeds = {seed for _, seed in self.found} if is_whole else ()
        raise MeasureError(text, seeds=seeds).with_traceback(
            first.__traceback__
        ) from first.__cause__


@dataclass(frozen=True)
class Asking:
    """A measure that is asked about networks of one recipe; parameters: see `evaluate`.

    Parameters
    ----------
    some_seeds
        Some of the recipe's; None takes all.
    apart
        Whether it is called in a process of its own, as one is that has a limit.
    """

    measure: Measure
    name: str
    family: Family
    recipe: str
    scale: str = "log"
    draw: int = 0
    timeout: float | None = None
    some_seeds: tuple[int, ...] | None = None
    apart: bool = False

    @property
    def options(self) -> dict[str, Any]:
        """All of it that is plain values: what is asked, but of which measure and networks."""
        names = ("name", "recipe", "scale", "draw", "timeout")
        return {name: getattr(self, name) for name in names}

    @property
    def seeds(self) -> tuple[int, ...]:
        """Those of the recipe's networks, or some of them where it is asked about these alone."""
        return self.family.seeds_of(self.recipe) if self.some_seeds is None else self.some_seeds

    def runs(self, n: int) -> list[TrainedRun]:
        """Return the networks of one size, by seed."""
        return [self.family.trained_run(self.recipe, n, seed) for seed in self.seeds]

    def where(self, n: int, *seeds: int) -> str:
        """Return what messages begin with."""
        return f"measure {self.name} on {self.family.describe(self.recipe, n, *seeds)}"


def evaluate_size(asking: Asking, n: int, failures: Failures) -> list[float]:
    """Return a measure's values at one size, one per seed; NaN where it fails, which is noted.

    Raises
    ------
    MeasureError
        If it fails on many networks, or on all of a stack.
    """
    with spent_on(MEASURES, asking.name, len(asking.seeds)), as_measures_expect():
        return _evaluate_size(asking, n, failures)


@contextmanager
def as_measures_expect() -> Iterator[None]:
    """Have derivatives at hand, and no more cores in use than are this process's share."""
    with own_cores(), torch.inference_mode(False), torch.enable_grad():
        yield


def _evaluate_size(asking: Asking, n: int, failures: Failures) -> list[float]:
    if isinstance(asking.measure, StackMeasure):
        stack = asking.family.stacks.of(asking.runs(n))
        try:
            return _evaluate_stack(asking, stack, asking.seeds)
        except MeasureError as error:
            return _find_failures(asking, n, failures, error)
    values = []
    for seed in asking.seeds:
        values.append(math.nan)
        with failures.noting(n, seed):
            values[-1] = _evaluate_one(asking, n, seed)
    return values


def _find_failures(asking: Asking, n: int, failures: Failures, error: MeasureError) -> list[float]:
    """Ask about each network of a stack that a measure has failed on; tell those that it is.

    Raises
    ------
    MeasureError
        What it has failed with, if it is none of them, or all.
    """
    own: dict[int, MeasureError] = {}
    for seed in asking.seeds:
        run = asking.family.trained_run(asking.recipe, n, seed)
        try:
            alone = NetworkStack.of_runs([run], asking.family.device, {})
            _evaluate_stack(asking, alone, (seed,))
        except MeasureError as failure:
            own[seed] = failure
    if len(own) in (0, len(asking.seeds)):
        raise error
    for seed, of_network in own.items():
        with failures.noting(n, seed):
            raise of_network
    return [math.nan] * len(asking.seeds)


def _evaluate_stack(asking: Asking, stack: NetworkStack, seeds: Sequence[int]) -> list[float]:
    """Return one value per seed from one call for all of them."""
    assert isinstance(asking.measure, StackMeasure)

    def where(*places: int) -> str:
        return asking.where(stack.n, *(seeds[place] for place in places))

    try:
        return ask_stack(
            asking.measure,
            stack.with_draw(asking.draw),
            where,
            scale=asking.scale,
            timeout=asking.timeout,
            apart=asking.apart,
        )
    except UndefinedMeasureError as error:
        places = range(len(seeds))[error.place : error.place + 1] or range(len(seeds))
        raise MeasureError(f"{where(*places)}: {error}") from None


def _evaluate_one(asking: Asking, n: int, seed: int) -> float:
    """Return one value from a call on a copy of a network."""
    family, measure = asking.family, as_measure(asking.measure)
    network = (
        family.oracle_network(asking.recipe, n, seed)
        if is_oracle(measure)
        else family[family.task.name, asking.recipe, n, seed]
    ).with_draw(asking.draw)
    where = f"measure {asking.name} on {network}"
    if call_form(measure):
        where += f", called with {call_form(measure)}"
    try:
        number: float = call(
            asking.measure, network, where, limit=asking.timeout, apart=asking.apart
        )
    except UndefinedMeasureError as error:
        raise MeasureError(f"{where}: {error}") from None
    require_usable(number, lambda: where, asking.scale)
    return number
