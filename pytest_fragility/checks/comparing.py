"""Whether a measure's change stays within its tolerance: three-way."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_fragility.checks.error_rates import ACQUITTED_BY_ERROR, BROKEN_IN_A_PART
from pytest_fragility.checks.verdicts import BROKEN, INCONCLUSIVE, KEPT
from pytest_fragility.curves import Change, seeds_needed


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
    statuses = {status, *(compare_change(part, tolerance, share=share) for part in parts)}
    return next(each for each in (BROKEN, INCONCLUSIVE, KEPT) if each in statuses)


def seeds_to_compare(whole: Change, parts: Sequence[Change], tolerance: float) -> int | None:
    """Return how many seeds would probably decide; None where up to 200 would not."""
    return seeds_needed(
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
