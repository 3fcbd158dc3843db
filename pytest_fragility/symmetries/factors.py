"""By how much a measure moves where the function does not."""

from __future__ import annotations

import math
from collections.abc import Iterable

from pytest_fragility.measures.adapters import as_measure
from pytest_fragility.measures.measure import Measure, measure_name
from pytest_fragility.measures.values import as_number
from pytest_fragility.networks.trained_network import TrainedNetwork
from pytest_fragility.symmetries.symmetry import SYMMETRIES, Symmetry, in_double


def symmetry_factors(
    measure: Measure, network: TrainedNetwork, symmetries: Iterable[Symmetry] | None = None
) -> dict[str, float]:
    """Return the factor by which each symmetry of a network moves a measure.

    The measure is asked in float64, before and after; 1 is a measure of the function alone.

    Parameters
    ----------
    measure
        A function of one `TrainedNetwork`.
    network
        A trained network.
    symmetries
        Which ones; all by default.

    Returns
    -------
    dict
        By the names of the symmetries that the network has. NaN where the measure is zero before
        and not after.

    Raises
    ------
    TrainingError
        If a symmetry does not leave the network's probabilities as they are.
    MeasureError
        If the measure returns anything but one real number.

    Examples
    --------
    >>> symmetry_factors(path_norm, network)["neuron-rescaling"]
    1.0
    """
    exact = in_double(network)
    asked = SYMMETRIES.values() if symmetries is None else symmetries
    changed = {symmetry.name: symmetry(exact) for symmetry in asked}
    before = _value(measure, exact, "in float64")
    return {
        name: _factor(before, _value(measure, each, f"after {name}"))
        for name, each in changed.items()
        if each is not None
    }


def _value(measure: Measure, network: TrainedNetwork, how: str) -> float:
    value = as_measure(measure)(network)
    return as_number(value, f"measure {measure_name(measure)} on {network}, {how}")


def _factor(before: float, after: float) -> float:
    if before == after:
        return 1.0
    return after / before if before else math.nan
