"""Whether a measure draws random numbers, and how far its curve scatters for that alone."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from pytest_fragility.curves.measure_noise import OwnNoise
from pytest_fragility.evaluation.asking import measured

if TYPE_CHECKING:
    from pytest_fragility.curves import LearningCurve
    from pytest_fragility.families.trained_family import Family
    from pytest_fragility.measures.measure import Measure


def find_own_noise(
    measure: Measure, family: Family, curve: LearningCurve, *, timeout: float | None = None
) -> OwnNoise | None:
    """Return the noise of a measure's own randomness; None where it draws no random numbers.

    It is asked about the networks of the smallest size a second time, with other random numbers;
    where it says the same of all of them it draws none. Else it is asked about the whole curve.

    Parameters
    ----------
    measure
        A function of one `TrainedNetwork`.
    family
        Where the networks come from.
    curve
        The measure's, over this family.
    timeout
        Seconds that the measure may take for a network; None has no limit.

    Raises
    ------
    MeasureError
        If the measure fails.
    """
    name, recipe, scale = curve.name, curve.recipe, curve.scale
    ask = partial(measured, measure, name, family, recipe, scale=scale, draw=1, timeout=timeout)
    smallest = ask(sizes=family.sizes[:1])
    if (smallest == curve.values[:1]).all():
        return None
    again = ask()
    return OwnNoise.from_draws(curve, replace(curve, values=again))
