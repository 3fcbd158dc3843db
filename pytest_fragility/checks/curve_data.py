"""Learning curves as plain data: what reports draw, and what stands in tables of values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pytest_fragility._util.lazy import OnDemand
from pytest_fragility.checks.kind import PAIRS, SEARCH, TASKS
from pytest_fragility.checks.registry import kind_of
from pytest_fragility.perturbations import BASELINE

if TYPE_CHECKING:
    from pytest_fragility.checks.check import Check
    from pytest_fragility.curves import LearningCurve, LearningCurves


MEASURE, TEST_ERROR = "measure", "test error"
Curve = dict[str, Any]


def curves_of_check(curves: LearningCurves, check: Check) -> list[Curve]:
    """Return the curves that a check's verdict rests on, as plain JSON types.

    Parameters
    ----------
    curves
        What the check was judged on; curves of the measure that were not asked for stay so.
    check
        The check.

    Returns
    -------
    list of dict
        ``quantity`` (``measure`` or ``test error``), ``task``, ``recipe``, its ``description``,
        ``sizes``, ``seeds``, and ``values`` by size and seed.
    """
    rests_on = kind_of(check).rests_on
    if rests_on in (PAIRS, SEARCH):
        return []
    if rests_on == TASKS:
        ladder = curves.ladder
        sources = ladder and [(ladder.measure, MEASURE), (ladder.error, TEST_ERROR)]
        return [
            _plain(curves, curve, quantity, task, BASELINE)
            for known, quantity in sources or []
            for task, curve in _asked(known).items()
        ]
    return [
        _plain(curves, curve, quantity, curves.task_name, recipe)
        for known, quantity in ((curves.measure, MEASURE), (curves.error, TEST_ERROR))
        for recipe, curve in _asked(known).items()
        if recipe in check.recipes
    ]


def widest(found: Iterable[Curve]) -> list[Curve]:
    """Return each curve once: of those with other numbers of seeds, the one with most."""
    known: dict[tuple[str, str, str], Curve] = {}
    for curve in found:
        place = (curve["quantity"], curve["task"], curve["recipe"])
        if place not in known or len(known[place]["seeds"]) < len(curve["seeds"]):
            known[place] = curve
    return list(known.values())


def _asked(known: Mapping[str, LearningCurve]) -> Mapping[str, LearningCurve]:
    if not isinstance(known, OnDemand):
        return known
    return {name: known[name] for name in known.known}


def _plain(
    curves: LearningCurves, curve: LearningCurve, quantity: str, task: str, recipe: str
) -> Curve:
    return {
        "quantity": quantity,
        "task": task,
        "recipe": recipe,
        "description": curves.recipes[recipe],
        "sizes": list(curve.sizes),
        "seeds": list(curve.seeds or curves.seeds),
        "values": curve.values.tolist(),
    }
