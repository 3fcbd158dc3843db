"""Asking a measure about a stack, and holding it to its word: usable numbers, nothing changed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from pytest_fragility.errors import MeasureError
from pytest_fragility.evaluation.calling import call, naming
from pytest_fragility.measures.measure import Measure
from pytest_fragility.measures.stacked import StackMeasure
from pytest_fragility.measures.values import require_usable
from pytest_fragility.networks.stacks import NetworkStack


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
