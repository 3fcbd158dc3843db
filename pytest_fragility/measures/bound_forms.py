"""The form in which a measure enters its bound."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

from pytest_fragility.errors import SettingsError
from pytest_fragility.measures.adapters import as_measure
from pytest_fragility.measures.measure import (
    BOUND,
    BOUND_FORM,
    LOGARITHM,
    Measure,
    measure_form,
    measure_name,
)
from pytest_fragility.measures.stacked import StackMeasure

if TYPE_CHECKING:
    from pytest_fragility.networks.trained_network import TrainedNetwork


def bound_form(measure: Measure) -> Measure:
    """Return the measure as it enters its bound: sqrt(value / n), unless it has another.

    The new measure is called ``<name>.bound_form``. Any quantity that does not depend on n gets
    the exponent 1/2 from this form. A value that is a norm and no squared norm goes in squared:
    ``bound_form(lambda network: norm(network) ** 2)``.

    Parameters
    ----------
    measure
        A raw measure, of the package or of one's own.

    Raises
    ------
    SettingsError
        If the measure is a bound already.
    """
    if isinstance(measure, StackMeasure):
        return measure.bound_form
    name = measure_name(measure)
    if measure_form(measure) in (BOUND, BOUND_FORM, LOGARITHM):
        raise SettingsError(
            f"{name} has no further bound's form: its value is already a {measure_form(measure)}"
        )
    of_network = as_measure(measure)

    @functools.wraps(of_network)
    def in_bound(network: TrainedNetwork) -> Any:
        value = of_network(network)
        if hasattr(value, "detach"):
            value = value.detach()
        if value < 0:
            raise ValueError(f"{name} is {float(value):g}: the root of value / n needs value >= 0")
        return (value / network.n) ** 0.5 if math.isfinite(value) else value

    setattr(in_bound, "form", BOUND_FORM)  # noqa: B010
    in_bound.__name__ = in_bound.__qualname__ = f"{name}.bound_form"
    return in_bound
