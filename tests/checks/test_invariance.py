"""Verdicts on networks with the same function, on values made by hand."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from pytest_fragility.checks.check import Check
from pytest_fragility.checks.invariance import InvarianceEvidence, judge_invariance
from pytest_fragility.checks.registry import judge
from pytest_fragility.checks.tolerances import Tolerances
from pytest_fragility.checks.verdicts import BROKEN, INCONCLUSIVE, KEPT, Verdict
from pytest_fragility.curves import Invariance
from pytest_fragility.errors import SettingsError
from pytest_fragility.perturbations import BASELINE
from tests.checks.test_judging import lines, make_curves

Floats = npt.NDArray[np.float64]

SPLIT = Check("symmetry", change="split-neurons")
DRAWS = 16
ALPHA = 0.05
TRIALS = 400
# A rate of alpha is seen above this once in a thousand times.
BOUND = float(stats.binom.ppf(0.999, TRIALS, ALPHA)) / TRIALS


def values(
    before: Floats | list[list[float]], after: Floats | list[list[float]], scale: str = "log"
) -> Invariance:
    """Return values before and after, one row for each pair of networks."""
    names = tuple(f"n=8, seed {place}" for place in range(len(before)))
    return Invariance("doubled", names, np.array(before), np.array(after), ALPHA, scale)


def decades(*moved: Floats | Sequence[float]) -> Invariance:
    """Return values that move by so many decades, one row for each pair of networks."""
    rows: Floats = np.array(moved)
    before: Floats = np.geomspace(0.5, 3.0, rows.size).reshape(rows.shape)
    after: Floats = before * 10**rows
    return values(before, after)


def verdict_on(invariance: Invariance | str, tolerance: float = 0.02) -> Verdict:
    """Return the verdict with a tolerance."""
    return judge_invariance(SPLIT, invariance, Tolerances(invariance=tolerance))


def evidence_on(invariance: Invariance, tolerance: float = 0.02) -> InvarianceEvidence:
    """Return what the verdict rests on."""
    evidence = verdict_on(invariance, tolerance).evidence
    assert isinstance(evidence, InvarianceEvidence)
    return evidence


def scattered(mean: float, half: float, pairs: int) -> Floats:
    """Return draws whose interval, with so many pairs at 95 % in all, is mean -+ half."""
    steps = np.linspace(-1.0, 1.0, DRAWS)
    quantile = float(stats.t.ppf(1 - ALPHA / pairs / 2, DRAWS - 1))
    rows: Floats = mean + half * DRAWS**0.5 / quantile * steps / steps.std(ddof=1)
    return rows


@pytest.mark.parametrize(
    ("moved", "status"),
    [
        (0.0, KEPT),
        (0.0199, KEPT),
        (-0.0199, KEPT),
        (0.0201, BROKEN),
        (-0.0201, BROKEN),
        (9.0, BROKEN),
    ],
)
def test_without_randomness_the_number_decides(moved: float, status: str) -> None:
    """There is nothing to be uncertain about: kept within the tolerance, broken outside."""
    verdict = verdict_on(decades([moved], [0.0]))
    assert verdict.status == status
    assert verdict.is_applicable and verdict.admissibility is None
    evidence = evidence_on(decades([moved], [0.0]))
    assert evidence.change.mean == pytest.approx(moved)
    assert evidence.change.low == evidence.change.mean == evidence.change.high
    assert (evidence.draws, evidence.network) == (1, "n=8, seed 0")


@pytest.mark.parametrize("moved", [0.02, -0.3])
def test_the_tolerance_itself_is_kept(moved: float) -> None:
    """And the next smaller number is not."""
    invariance = decades([moved])
    found = abs(invariance.changes[0].mean)
    assert verdict_on(invariance, found).status == KEPT
    assert verdict_on(invariance, math.nextafter(found, 0)).status == BROKEN


def test_a_tolerance_of_zero_keeps_what_does_not_move() -> None:
    """Unlike a change of training, a symmetry may be exact."""
    assert verdict_on(decades([0.0], [0.0]), 0.0).status == KEPT
    assert verdict_on(values([[3.0]], [[math.nextafter(3.0, 4.0)]], "linear"), 0.0).status == BROKEN


@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_pair_is_enough_to_break(place: int) -> None:
    """What breaks is the pair that moved the farthest, which the evidence names."""
    moved = [[0.0], [0.01], [-0.015]]
    moved[place] = [-0.5]
    verdict = verdict_on(decades(*moved))
    assert verdict.status == BROKEN
    evidence = evidence_on(decades(*moved))
    assert evidence.network == f"n=8, seed {place}"
    assert evidence.after / evidence.before == pytest.approx(10**-0.5)
    assert evidence.tolerance == 0.02 and evidence.summary == "doubled"


def test_what_is_kept_is_shown_where_it_moved_the_farthest() -> None:
    """The evidence of a verdict is its worst case."""
    invariance = decades([0.001], [-0.015], [0.01])
    assert invariance.largest == 1
    assert evidence_on(invariance).network == "n=8, seed 1"


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize(
    ("mean", "half", "status"),
    [
        (0.0, 0.019, KEPT),
        (0.0, 0.021, INCONCLUSIVE),
        (0.015, 0.0049, KEPT),
        (0.015, 0.0051, INCONCLUSIVE),
        (0.1, 0.079, BROKEN),
        (0.1, 0.081, INCONCLUSIVE),
    ],
)
def test_with_randomness_the_interval_decides(
    mean: float, half: float, status: str, sign: int
) -> None:
    """Kept where all of it is within the tolerance, broken where none is."""
    invariance = decades(sign * scattered(mean, half, 1))
    assert verdict_on(invariance).status == status
    change = evidence_on(invariance).change
    assert (change.mean, change.low) == pytest.approx((sign * mean, sign * mean - half))
    assert change.high == pytest.approx(sign * mean + half)
    assert evidence_on(invariance).draws == DRAWS


def test_pairs_share_what_may_be_wrong() -> None:
    """Each of two pairs has an interval at half of alpha (Bonferroni)."""
    alone, half = scattered(0.1, 0.079, 1), scattered(0.1, 0.079, 2)
    still = np.zeros(DRAWS)
    assert verdict_on(decades(alone)).status == BROKEN
    assert verdict_on(decades(alone, still)).status == INCONCLUSIVE
    assert verdict_on(decades(half, still)).status == BROKEN
    assert [change.alpha for change in decades(half, still).changes] == [ALPHA / 2] * 2


def test_a_broken_pair_outweighs_an_undecided_one() -> None:
    """And is the one that is shown, though the other may seem to have moved farther."""
    invariance = decades(scattered(0.3, 0.5, 2), scattered(0.1, 0.01, 2))
    assert verdict_on(invariance).status == BROKEN
    assert evidence_on(invariance).network == "n=8, seed 1"
    assert invariance.largest == 0


def test_an_undecided_pair_is_shown_before_a_kept_one() -> None:
    """Nothing is kept where one pair is open."""
    invariance = decades(scattered(0.0, 0.03, 2), scattered(0.015, 0.001, 2))
    assert verdict_on(invariance).status == INCONCLUSIVE
    assert evidence_on(invariance).network == "n=8, seed 0"


def test_values_shown_are_means_over_draws() -> None:
    """Before and after, in the measure's own units."""
    evidence = evidence_on(values([[1.0, 3.0]], [[30.0, 50.0]]))
    assert (evidence.before, evidence.after) == (2.0, 40.0)


moves = arrays(np.float64, (2, 6), elements=st.floats(-0.1, 0.1))


@given(rows=moves, tolerance=st.floats(0, 0.1))
def test_verdicts_agree_with_an_interval_of_scipy(rows: Floats, tolerance: float) -> None:
    """For whatever draws, paired: the interval of their differences."""
    assume(all(row.std() > 1e-6 for row in rows))
    intervals = [
        stats.t.interval(1 - ALPHA / 2, 5, row.mean(), stats.sem(row, ddof=1)) for row in rows
    ]
    edges = [abs(abs(end) - tolerance) for interval in intervals for end in interval]
    assume(min(edges) > 1e-9)
    inside = [-tolerance < low and high < tolerance for low, high in intervals]
    outside = [low > tolerance or high < -tolerance for low, high in intervals]
    expected = BROKEN if any(outside) else KEPT if all(inside) else INCONCLUSIVE
    assert verdict_on(decades(*rows), tolerance).status == expected


@pytest.mark.parametrize(
    ("before", "after", "moved"),
    [
        (100.0, 102.0, 0.02),
        (102.0, 100.0, -2 / 102),
        (-100.0, -102.0, -0.02),
        (0.0, 0.0, 0.0),
        (0.0, 5.0, 1.0),
        (5.0, 0.0, -1.0),
        (0.0, -5.0, -1.0),
        (-3.0, 3.0, 2.0),
        (3.0, -3.0, -2.0),
        (1e-300, 2e-300, 1.0),
    ],
)
def test_on_a_linear_scale_changes_are_relative(before: float, after: float, moved: float) -> None:
    """To the value before; from nothing to something is one whole, two zeros are the same."""
    invariance = values([[before]], [[after]], "linear")
    assert invariance.changes[0].mean == pytest.approx(moved)
    assert verdict_on(invariance, 0.99 * abs(moved)).status == (BROKEN if moved else KEPT)
    assert verdict_on(invariance, 1.01 * abs(moved)).status == KEPT


def test_random_values_on_a_linear_scale_may_be_zero() -> None:
    """Draw by draw relative, and then an interval."""
    before, after = [0.0, 1.0, -2.0, 4.0], [0.0, 2.0, -4.0, 8.0]
    change = values([before], [after], "linear").changes[0]
    moved = np.array([0.0, 1.0, -1.0, 1.0])
    low, high = stats.t.interval(1 - ALPHA, 3, moved.mean(), stats.sem(moved))
    assert (change.mean, change.low, change.high) == pytest.approx((0.25, low, high))


def test_a_text_says_why_the_check_does_not_apply() -> None:
    """It convicts nobody, and certifies nobody."""
    verdict = verdict_on("the measure does not claim split-neurons")
    assert (verdict.status, verdict.applies, verdict.is_applicable) == (INCONCLUSIVE, False, False)
    assert verdict.reason == "the measure does not claim split-neurons"
    assert verdict.evidence is None


def test_evidence_is_plain_json() -> None:
    """With the change's interval."""
    found = evidence_on(decades([0.5])).to_dict()
    assert found["change"] == pytest.approx({"mean": 0.5, "low": 0.5, "high": 0.5})
    assert set(found) == {
        *("summary", "network", "before", "after", "change", "tolerance", "draws")
    }


def test_curves_hold_the_values_by_check() -> None:
    """Where curves have none, the error says how to get them."""
    equivalence = Check("equivalence", change="exponential-rate")
    plain = make_curves({BASELINE: lines(-0.2)})
    for check in (SPLIT, equivalence):
        with pytest.raises(SettingsError, match=f"{check.id}: .* ask for checks='{check.kind}'"):
            judge(check, plain, Tolerances())
    known: Mapping[str, Invariance | str] = {
        SPLIT.id: decades([0.5]),
        equivalence.id: "the training diverged",
    }
    curves = make_curves({BASELINE: lines(-0.2)}, unfinished={BASELINE: "all runs diverged"})
    curves = replace(curves, invariances=known)
    # the same function is judged whether or not learning curves can be
    assert judge(SPLIT, curves, Tolerances()).status == BROKEN
    assert judge(SPLIT, curves, Tolerances(invariance=0.6)).status == KEPT
    assert judge(equivalence, curves, Tolerances()).reason == "the training diverged"


@pytest.mark.parametrize(("truly", "error"), [(0.0199, BROKEN), (-0.0201, KEPT)])
def test_verdicts_err_seldom(truly: float, error: str) -> None:
    """At the tolerance, on whichever side, at a rate of alpha at most."""
    generator = np.random.default_rng(7)
    found = [
        verdict_on(decades(*generator.normal(truly, 0.005, size=(2, DRAWS)))).status
        for _ in range(TRIALS)
    ]
    assert found.count(error) / TRIALS <= BOUND
