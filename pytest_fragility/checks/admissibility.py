"""Whether a perturbation barely changed the network, judged by test error's learning curve."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pytest_fragility.checks.check import Check
from pytest_fragility.checks.error_rates import INADMISSIBLE_BY_EITHER
from pytest_fragility.checks.kind import AUDIT, Asked, Kind
from pytest_fragility.checks.tolerances import Tolerances
from pytest_fragility.checks.verdicts import (
    ADMISSIBLE,
    INADMISSIBLE,
    INCONCLUSIVE,
    KEPT,
    UNDECIDED,
    Admissibility,
    Verdict,
)
from pytest_fragility.perturbations import BASELINE

if TYPE_CHECKING:
    from pytest_fragility.curves import Estimate, LearningCurves


def judge_admissibility(
    curves: LearningCurves, perturbation: str, *, margin: float
) -> Admissibility:
    """Return whether test error's curve stayed within the margin of the baseline's.

    An equivalence test, three-way: `admissible` where both its exponent and its level lie within
    the margin with their whole paired intervals, which carry the noise of the finite test set;
    `inadmissible` where one of them lies outside with its whole interval, which is a wider one,
    since it excuses the measure; runs that diverged or did not reach their stopping target make
    the perturbation inadmissible too.

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
    statuses = {compare_with_margin(change, margin) for change in (slope, level)}
    status = next(s for s in (INADMISSIBLE, UNDECIDED, ADMISSIBLE) if s in statuses)
    return Admissibility(status, moved, slope, level)


def compare_with_margin(change: Estimate, margin: float) -> str:
    """Return whether a change's whole interval lies within a margin, outside of it, or neither."""
    if change.lies_within(margin):
        return ADMISSIBLE
    wider = change.with_alpha(INADMISSIBLE_BY_EITHER * change.alpha)
    return INADMISSIBLE if wider.lies_beyond(margin) else UNDECIDED


# of a perturbation without a learning curve
INCOMPLETE = "incomplete"


class AdmissibleCount(Kind):
    """Some perturbation is admissible, so that it can convict."""

    id = "perturbations-admissible"
    about = AUDIT
    counts_admissible = True

    def plan(self, asked: Asked) -> list[Check]:
        """Return one check of all perturbations, where a kind looks at them."""
        names = asked.perturbations if asked.with_perturbations else ()
        return [Check(self.id, among=names)] if names else []

    def judge_curves(self, check: Check, curves: LearningCurves, tolerances: Tolerances) -> Verdict:
        """Judge all perturbations that have a learning curve."""
        statuses = dict.fromkeys(check.among, INCOMPLETE) | {
            name: judge_admissibility(curves, name, margin=tolerances.margin).status
            for name in curves.judged(check.among)
        }
        return judge_admissible_count(check, statuses)


def judge_admissible_count(check: Check, statuses: Mapping[str, str]) -> Verdict:
    """Return whether there is a perturbation that can convict, by whether each is admissible."""
    names = check.among
    admissible = [name for name in names if statuses[name] == ADMISSIBLE]
    if admissible:
        reason = f"{len(admissible)} of {len(names)} perturbations are admissible"
        return Verdict(check, KEPT, reason)
    reason = "no perturbation is admissible, so that nothing was audited: " + ", ".join(
        f"{name} is {statuses[name]}" for name in names
    )
    return Verdict(check, INCONCLUSIVE, reason)


KIND = AdmissibleCount()
