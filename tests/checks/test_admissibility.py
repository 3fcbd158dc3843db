"""Whether a perturbation counts as a small change, on learning curves made by hand."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from pytest_fragility.checks.admissibility import judge_admissibility
from pytest_fragility.checks.verdicts import ADMISSIBLE, INADMISSIBLE, UNDECIDED, Admissibility
from pytest_fragility.perturbations import BASELINE
from tests.checks.test_judging import ERROR, HALF, SEEDS, TIGHT, Lines, lines, make_curves

unhurried = settings(deadline=None)


def judged(error: Lines, *, margin: float = 0.1, unfinished: str | None = None) -> Admissibility:
    """Return whether the change that moved test error to `error` is admissible."""
    curves = make_curves(
        {BASELINE: lines(-0.2), "adam": lines(-0.2)},
        {BASELINE: ERROR, "adam": error},
        {"adam": unfinished} if unfinished else None,
    )
    return judge_admissibility(curves, "adam", margin=margin)


@pytest.mark.parametrize("part", ["slope", "level"])
@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize(
    ("moved", "status"),
    [(0.0, ADMISSIBLE), (0.08, ADMISSIBLE), (0.1, UNDECIDED), (0.13, INADMISSIBLE)],
)
def test_exponent_and_level_must_both_stay(part: str, sign: int, moved: float, status: str) -> None:
    """Either of them, in either direction, is enough to make a change too large."""
    moves = {part: sign * moved}
    assert judged(ERROR.moved(**moves, deviation=TIGHT)).status == status


@unhurried
@given(
    slope=st.floats(-0.3, 0.3),
    level=st.floats(-0.3, 0.3),
    scatter=st.floats(0.0, 0.1),
    margin=st.floats(0.0, 0.3),
)
def test_the_worse_of_the_two_decides(
    slope: float, level: float, scatter: float, margin: float
) -> None:
    """Inadmissible before undecided before admissible, whole intervals included.

    What excuses a measure takes more certainty, two chances of alpha / 8, than what convicts it.
    """
    wider = float(stats.t.ppf(1 - 0.05 / 8, SEEDS - 1)) / SEEDS**0.5
    ends = [(mean - scatter * HALF, mean + scatter * HALF) for mean in (slope, level)]
    wide = [(mean - scatter * wider, mean + scatter * wider) for mean in (slope, level)]
    assume(min(abs(abs(end) - margin) for pair in (*ends, *wide) for end in pair) > 1e-9)
    if any(low > margin or high < -margin for low, high in wide):
        expected = INADMISSIBLE
    elif all(-margin < low and high < margin for low, high in ends):
        expected = ADMISSIBLE
    else:
        expected = UNDECIDED
    found = judged(ERROR.moved(slope=slope, level=level, deviation=scatter), margin=margin)
    assert found.status == expected


def test_the_movement_is_paired_over_seeds() -> None:
    """Seeds that differ widely but all move alike decide."""
    scattered = lines(-0.3, deviation=1.0)
    curves = make_curves(
        {BASELINE: lines(-0.2), "adam": lines(-0.2)},
        {BASELINE: scattered, "adam": scattered.moved(slope=0.01)},
    )
    found = judge_admissibility(curves, "adam", margin=0.1)
    assert found.status == ADMISSIBLE
    before, after = curves.error[BASELINE].slopes, curves.error["adam"].slopes
    paired = stats.ttest_rel(after, before).confidence_interval(0.95)
    assert found.slope_change is not None
    assert (found.slope_change.low, found.slope_change.high) == pytest.approx(
        (paired.low, paired.high)
    )


def test_the_reason_gives_both_movements_and_the_margin() -> None:
    """A reader sees by how much test error moved, and how certain that is."""
    found = judged(ERROR.moved(slope=0.31, level=-0.22, deviation=0.0), margin=0.15)
    assert found.status == INADMISSIBLE
    assert "exponent moved by +0.31 [+0.31, +0.31]" in found.reason
    assert "level by -0.22 [-0.22, -0.22] decades" in found.reason
    assert "margin 0.15" in found.reason


def test_unfinished_training_is_inadmissible_however_alike_the_errors() -> None:
    """A run that did not reach its target is another network; the reason says which."""
    reason = "4 of 20 runs diverged (n=16, seed 0)"
    found = judged(ERROR, unfinished=reason)
    assert (found.status, found.reason) == (INADMISSIBLE, reason)
    assert found.slope_change is None and found.level_change is None
