"""What a measure is, what it is called, and the bound's form of one."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from pytest_fragility.errors import SettingsError

if TYPE_CHECKING:
    from pytest_fragility.trained_networks import TrainedNetwork

Measure = Callable[..., Any]
AnyMeasure = TypeVar("AnyMeasure", bound=Callable[..., Any])

ORACLE_ATTRIBUTE = "is_oracle"

_NAME = re.compile(r"[A-Za-z_][\w.+-]*")


def oracle(measure: AnyMeasure) -> AnyMeasure:
    """Mark a control measure that is handed an `OracleNetwork`, test data included."""
    setattr(measure, ORACLE_ATTRIBUTE, True)
    return measure


def is_oracle(measure: Measure) -> bool:
    """Return whether a measure was marked by `oracle`."""
    return bool(getattr(measure, ORACLE_ATTRIBUTE, False))


def over_sqrt_n(measure: Measure) -> Measure:
    """Return the measure divided by sqrt(n): the form in which a norm enters its bound.

    The new measure is called ``<name>_over_sqrt_n``. Any quantity that does not depend on n gets
    the exponent 1/2 from this form.

    Parameters
    ----------
    measure
        A raw measure.
    """

    @functools.wraps(measure)
    def bound_form(network: TrainedNetwork) -> Any:
        return measure(network) / math.sqrt(network.n)

    bound_form.__name__ = f"{measure_name(measure)}_over_sqrt_n"
    bound_form.__qualname__ = bound_form.__name__
    return bound_form


def measure_name(measure: Measure, name: str | None = None) -> str:
    """Return what reports and test ids call a measure: the given name, or ``__name__``.

    Raises
    ------
    SettingsError
        If `measure` is not callable, or has no name that is stable from one process to the next.
    """
    if not callable(measure):
        raise SettingsError(
            f"measure {measure!r}: expected a function of one TrainedNetwork, "
            f"got {type(measure).__name__}"
        )
    chosen = getattr(measure, "__name__", None) if name is None else name
    if not isinstance(chosen, str) or not _NAME.fullmatch(chosen):
        raise SettingsError(
            f"measure of type {type(measure).__name__} is called {chosen!r}: expected a name made "
            "of letters, digits and '_.+-'; give it one with name='...'"
        )
    return chosen
