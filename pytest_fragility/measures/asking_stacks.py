"""Asking a measure about a stack, and holding it to its word: usable numbers, nothing changed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from pytest_fragility.errors import MeasureError, UndefinedMeasureError
from pytest_fragility.measures.measure import Measure
from pytest_fragility.measures.stacked import StackMeasure
from pytest_fragility.measures.time_limit import MeasureTimedOut, time_limit, took_longer
from pytest_fragility.measures.usable import require_usable
from pytest_fragility.network_stacks import NetworkStack
from pytest_fragility.quoting import error_text

OWN_NAME = __name__.partition(".")[0]


def is_own(measure: Measure) -> bool:
    """Return whether a measure of stacks is one of this package's, which do nothing else."""
    return isinstance(measure, StackMeasure) and measure.__module__.startswith(f"{OWN_NAME}.")


def ask_stack(
    measure: StackMeasure,
    stack: NetworkStack,
    where: Callable[..., str],
    *,
    scale: str = "log",
    timeout: float | None = None,
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

    Raises
    ------
    UndefinedMeasureError
        If the measure says that it is not defined for a network; it has its place.
    MeasureError
        If it raises anything else, takes too long, returns what is not usable, or changes the
        stack.
    """
    every = range(len(stack))
    before = _versions(stack)
    limit = None if timeout is None else timeout * len(stack)
    try:
        with time_limit(limit):
            values: list[float] = measure.over_stack(stack).tolist()
    except UndefinedMeasureError:
        raise
    except MeasureTimedOut:
        assert limit is not None
        raise MeasureError(f"{where(*every)}: {took_longer(limit)}") from None
    except Exception as error:
        raise MeasureError(f"{where(*every)}: raised {error_text(error)}") from error
    changed = [part for part, version in _versions(stack).items() if version != before[part]]
    if changed:
        raise MeasureError(
            f"{where(*every)}: changed the stack it was handed ({changed[0]}), which other "
            "measures share; clone what is to change"
        )
    for place, value in enumerate(values):
        require_usable(value, partial(where, place), scale)
    return values


def _versions(stack: NetworkStack) -> dict[str, int]:
    """Return how often each tensor of a stack was changed in place, as torch counts."""
    parts = ("weights", "initial_weights", "buffers", "initial_buffers")
    return {
        f"{part}, {name}": tensor._version
        for part in parts
        for name, tensor in vars(stack)[part].items()
    }
