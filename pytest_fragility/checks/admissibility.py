"""Whether a perturbation barely changed the network, judged by test error's learning curve."""

from __future__ import annotations

from pytest_fragility.checks.verdicts import (
    ADMISSIBLE,
    INADMISSIBLE,
    UNDECIDED,
    Admissibility,
)
from pytest_fragility.curves import Estimate, LearningCurves
from pytest_fragility.perturbations import BASELINE


def judge_admissibility(
    curves: LearningCurves, perturbation: str, *, margin: float
) -> Admissibility:
    """Return whether test error's curve stayed within the margin of the baseline's.

    Both its exponent and its level must, with their whole paired intervals; runs that diverged or
    did not reach their stopping target make the perturbation inadmissible.

    Parameters
    ----------
    curves
        Test error's curves and how training went.
    perturbation
        The perturbation's name.
    margin
        Largest change of the exponent, and of the level in decades.
    """
    if perturbation in curves.unfinished:
        return Admissibility(INADMISSIBLE, curves.unfinished[perturbation])
    baseline, perturbed = curves.error[BASELINE], curves.error[perturbation]
    slope, level = perturbed.slope_change(baseline), perturbed.level_change(baseline)
    moved = (
        f"test error's exponent moved by {slope.mean:+.2f} [{slope.low:+.2f}, {slope.high:+.2f}] "
        f"and its level by {level.mean:+.2f} [{level.low:+.2f}, {level.high:+.2f}] decades, "
        f"margin {margin:g}"
    )
    statuses = {compare_with_margin(slope, margin), compare_with_margin(level, margin)}
    status = next(s for s in (INADMISSIBLE, UNDECIDED, ADMISSIBLE) if s in statuses)
    return Admissibility(status, moved, slope, level)


def compare_with_margin(change: Estimate, margin: float) -> str:
    """Return whether a change's whole interval lies within a margin, outside of it, or neither."""
    if -margin <= change.low and change.high <= margin:
        return ADMISSIBLE
    if change.low > margin or change.high < -margin:
        return INADMISSIBLE
    return UNDECIDED
