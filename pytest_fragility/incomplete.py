"""What a check finds over the other seeds, where the measure fails with some."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_fragility.errors import FragilityError, MeasureError

if TYPE_CHECKING:
    from pytest_fragility.checks.check import Check
    from pytest_fragility.checks.tolerances import Tolerances
    from pytest_fragility.curves import LearningCurves

# fewer have no interval
FEWEST_SEEDS = 2


def told_of_the_rest(
    error: MeasureError, check: Check, curves: LearningCurves, tolerances: Tolerances
) -> MeasureError:
    """Return the error of a measure, told what the check finds over the other seeds.

    It stays an error: nothing passes on fewer networks than were asked for.

    Parameters
    ----------
    error
        What kept the check from being judged.
    check
        What is asserted.
    curves
        Those on which it was to be judged.
    tolerances
        How far the measure may move.
    """
    others = len(set(curves.seeds) - error.seeds)
    if not error.seeds or curves.without_seeds is None or others < FEWEST_SEEDS:
        return error
    from pytest_fragility.checks.registry import judge

    try:
        verdict = judge(check, curves.without_seeds(error.seeds), tolerances)
    except FragilityError:
        # the measure fails on more networks, of which its own message says enough
        return error
    text = f"{error}. Over the {others} other seeds, {check.id} is {verdict.status}"
    return MeasureError(text, seeds=error.seeds).with_traceback(error.__traceback__)
