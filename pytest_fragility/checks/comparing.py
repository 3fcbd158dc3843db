"""Whether a measure's change stays within its tolerance: three-way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pytest_fragility import curves as statistics
from pytest_fragility.checks.error_rates import (
    ACQUITTED_BY_ERROR,
    BROKEN_IN_A_PART,
    SHAPES_LOOKED_AT,
)
from pytest_fragility.checks.verdicts import BROKEN, INCONCLUSIVE, KEPT, PartEvidence, worst

if TYPE_CHECKING:
    from pytest_fragility.curves import Change, LearningCurve, Part


def compare_change(change: Change, tolerance: float, *, share: float = 1.0) -> str:
    """Return whether a change is `kept`, `broken` or `inconclusive`.

    A measure may stay where it is, move as test error moved, or anything between, plus or minus
    the tolerance: from -tolerance + min(0, e) to tolerance + max(0, e), where e is how far test
    error truly moved. It is above that where both its change and its change less e are above the
    tolerance; so both must be, with certainty, to be broken, and one of them must certainly not be
    to be kept.

    Parameters
    ----------
    change
        Of slopes or levels.
    tolerance
        Zero or more.
    share
        Of the chance to convict wrongly that this change may use up.
    """
    if _is_inside(change, tolerance):
        return KEPT
    alpha = share * change.own.alpha
    sides = {each.with_alpha(alpha).lies_beyond(tolerance) for each in (change.own, change.beyond)}
    return BROKEN if sides in ({1}, {-1}) else INCONCLUSIVE


def compare_changes(whole: Change, parts: Sequence[Change], tolerance: float) -> str:
    """Return whether a curve's change is kept, over the whole of it and over each of its parts."""
    status = compare_change(whole, tolerance)
    if not parts or status == BROKEN:
        return status
    share = BROKEN_IN_A_PART / len(parts)
    return worst([status, *(compare_change(part, tolerance, share=share) for part in parts)])


def seeds_to_compare(whole: Change, parts: Sequence[Change], tolerance: float) -> int | None:
    """Return how many seeds would probably decide; None where up to 200 would not."""
    return statistics.seeds_needed(
        whole.own.seeds,
        lambda seeds: (
            compare_changes(
                whole.with_seeds(seeds), [part.with_seeds(seeds) for part in parts], tolerance
            )
            != INCONCLUSIVE
        ),
    )


def _is_inside(change: Change, tolerance: float) -> bool:
    beyond = change.beyond.with_alpha(ACQUITTED_BY_ERROR * change.beyond.alpha)
    is_below = change.own.high <= tolerance or beyond.high <= tolerance
    is_above = change.own.low >= -tolerance or beyond.low >= -tolerance
    return is_below and is_above


BENT_BASELINE, BENT_PERTURBED, BENT_CHANGE = "baseline", "perturbed", "change"


def find_parts(
    before: LearningCurve, after: LearningCurve | None, tolerance: float
) -> tuple[tuple[str, ...], list[Part]]:
    """Return which of two curves, and of their ratio, are no power law, and the parts they have.

    Parameters
    ----------
    before, after
        The measure's curves; None for `after` looks at one alone.
    tolerance
        How far the slope over one part may differ from that over another.

    Returns
    -------
    bent
        Of ``baseline``, ``perturbed`` and ``change``.
    parts
        As the first of these is cut; empty where all are power laws, as far as can be seen.
    """
    if before.scale != "log":
        return (), []
    alpha = before.alpha / SHAPES_LOOKED_AT
    found = {BENT_BASELINE: statistics.bent_parts(before, tolerance=tolerance, alpha=alpha)}
    if after is not None:
        found[BENT_PERTURBED] = statistics.bent_parts(after, tolerance=tolerance, alpha=alpha)
        found[BENT_CHANGE] = statistics.bent_parts(
            after, tolerance=tolerance, alpha=alpha, baseline=before
        )
    bent = tuple(which for which, cut in found.items() if cut)
    return bent, list(found[bent[-1]]) if bent else []


def bent_curves(
    before: LearningCurve, after: LearningCurve | None, tolerance: float
) -> tuple[tuple[str, ...], tuple[PartEvidence, ...]]:
    """Return which curves are no power law, and their slopes over the parts.

    Parameters and the first return are those of `find_parts`.
    """
    bent, cut = find_parts(before, after, tolerance)
    return bent, tuple(
        PartEvidence(
            part_sizes(before, part),
            before.part(*part).slope,
            after.part(*part).slope if after else None,
        )
        for part in cut
    )


def part_sizes(curve: LearningCurve, part: Part) -> tuple[int, int]:
    """Return the smallest and the largest n of a part."""
    return curve.sizes[part[0]], curve.sizes[part[1]]
