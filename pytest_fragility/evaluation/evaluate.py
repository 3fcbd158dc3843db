"""Calling a measure on a network, and holding it to its word: one real number, nothing changed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch

from pytest_fragility._util.stopwatch import MEASURES, spent_on
from pytest_fragility.errors import MeasureError, UndefinedMeasureError
from pytest_fragility.evaluation.calling import Failures, call, naming
from pytest_fragility.families.family import Family
from pytest_fragility.measures.adapters import as_measure, call_form
from pytest_fragility.measures.measure import Measure, is_oracle
from pytest_fragility.measures.stacked import StackMeasure
from pytest_fragility.measures.values import as_number, require_usable
from pytest_fragility.networks.runs import TrainedRun
from pytest_fragility.networks.stacks import NetworkStack
from pytest_fragility.networks.trained_network import TrainedNetwork
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
    values: list[float] = call(ask_once, measure, stack, where(*every), limit=limit, apart=apart)
    for place, value in enumerate(values):
        require_usable(value, partial(where, place), scale)
    return values


def ask_once(measure: Measure, stack: NetworkStack, where: str) -> list[float]:
    """Return what a measure says of a stack, which it must leave as it is; see `call`."""
    assert isinstance(measure, StackMeasure)
    before = _versions(stack)
    with naming(where):
        values: list[float] = measure.over_stack(stack).tolist()
    changed = [part for part, version in _versions(stack).items() if version != before[part]]
    if changed:
        raise MeasureError(
            f"{where}: changed the stack it was handed ({changed[0]}), which other "
            "measures share; clone what is to change"
        )
    return values


def _versions(stack: NetworkStack) -> dict[str, int]:
    """Return how often each tensor of a stack was changed in place, as torch counts."""
    parts = ("weights", "initial_weights", "buffers", "initial_buffers")
    return {
        f"{part}, {name}": tensor._version
        for part in parts
        for name, tensor in vars(stack)[part].items()
    }


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
            ask_network, asking.measure, network, where, limit=asking.timeout, apart=asking.apart
        )
    except UndefinedMeasureError as error:
        raise MeasureError(f"{where}: {error}") from None
    require_usable(number, lambda: where, asking.scale)
    return number


def ask_network(measure: Measure, network: TrainedNetwork, where: str) -> float:
    """Return what a measure says of a network, which it must leave as it is; see `call`."""
    before = _state_of(network)
    with naming(where):
        value = as_measure(measure)(network)
    changed = _changed_part(network, before)
    if changed:
        raise MeasureError(
            f"{where}: changed the network it was handed ({changed}). It was a copy, so no "
            "harm is done, but a measure only reads: work on copy.deepcopy(network.model)"
        )
    return as_number(value, where)


class _State(NamedTuple):
    """What a measure may not change; torch counts changes in place, which spares copying samples.

    Parameters
    ----------
    versions
        Of the samples.
    weights
        Copies of those of both models.
    """

    versions: dict[str, int]
    weights: tuple[dict[str, torch.Tensor], ...]


def _state_of(network: TrainedNetwork) -> _State:
    samples = {part: vars(network)[part]._version for part in ("inputs", "labels")}
    return _State(
        samples,
        tuple(
            {name: each.detach().cpu().clone() for name, each in model.named_parameters()}
            for model in network.models
        ),
    )


def _changed_part(network: TrainedNetwork, before: _State) -> str | None:
    """Return what of a network differs from what it was, in words; None where nothing does."""
    for part, version in before.versions.items():
        if vars(network)[part]._version != version:
            return part
    names = ("model", "initial_model")
    for name, model, weights in zip(names, network.models, before.weights, strict=True):
        state = model.state_dict()
        for key, weight in weights.items():
            value = state.get(key)
            if value is None or not _is_same(value, weight):
                return f"{name}'s {key}"
        if any(module.training for module in model.modules()):
            return f"{name}'s train mode"
    return None


def _is_same(value: torch.Tensor, weight: torch.Tensor) -> bool:
    """Compare bit by bit; a diverged network's NaN is the same as itself."""
    if value.is_meta or value.dtype != weight.dtype or value.shape != weight.shape:
        return False
    return torch.allclose(value.cpu(), weight, rtol=0, atol=0, equal_nan=True)
