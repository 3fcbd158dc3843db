"""How often verdicts are wrong, over a few hundred simulated audits; see tests/benchmarks too."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from pytest_fragility.curves import bent_parts
from tests.simulated_audits import (
    ACQUITTED,
    ALPHA,
    CASES,
    CONVICTED,
    PERTURBATION,
    PLAIN_CASES,
    SCATTERS,
    Case,
    Scatter,
    Truth,
    rates,
    simulate,
    staged_rates,
)
from tests.simulated_test_sets import coverage

AUDITS = 200
STAGED_AUDITS = 100


def bound(audits: int, alpha: float = ALPHA) -> float:
    """Return what a rate of alpha exceeds once in a thousand times."""
    return float(stats.binom.ppf(0.999, audits, alpha)) / audits


every_scatter = pytest.mark.parametrize("scatter", SCATTERS.values(), ids=SCATTERS)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_verdicts_are_seldom_wrong(case: Case) -> None:
    """At a rate of alpha at most, where the truth lies at the limit of what is allowed."""
    found = rates(case.kind, case.truth, Scatter(), audits=AUDITS)
    assert found[case.wrong] <= bound(AUDITS)


@pytest.mark.parametrize("scatter", list(SCATTERS.values())[1:], ids=list(SCATTERS)[1:])
@pytest.mark.parametrize("case", PLAIN_CASES, ids=str)
def test_verdicts_are_seldom_wrong_whatever_the_noise(case: Case, scatter: Scatter) -> None:
    """Heavy tails, other variances at each n, nested subsets, one seed that went astray."""
    found = rates(case.kind, case.truth, scatter, audits=AUDITS)
    assert found[case.wrong] <= bound(AUDITS)


@pytest.mark.parametrize("case", PLAIN_CASES, ids=str)
def test_looks_at_growing_numbers_of_seeds_share_alpha(case: Case) -> None:
    """An audit that stops at the first look that decides is wrong as seldom."""
    found = staged_rates(case.kind, case.truth, Scatter(), audits=STAGED_AUDITS)
    assert found[case.wrong] <= bound(STAGED_AUDITS)


def test_the_bound_can_fail() -> None:
    """Intervals of 60 % in the place of 95 % exceed it: the simulation sees wrong levels."""
    check = next(case for case in CASES if case.name == "exponent just outside")
    found = rates(check.kind, check.truth, Scatter(), audits=AUDITS, alpha=0.4)
    assert found[ACQUITTED] > bound(AUDITS)


@pytest.mark.parametrize("kind", ["exponent", "spread", "trend"])
def test_the_rates_are_not_held_by_deciding_nothing(kind: str) -> None:
    """Well inside of the tolerance measures are acquitted, well outside convicted."""
    outside = Truth(slope_change=0.4, level_change=0.4)
    assert rates(kind, Truth(), Scatter(), audits=AUDITS)[ACQUITTED] >= 0.95
    assert rates(kind, outside, Scatter(), audits=AUDITS)[CONVICTED] >= 0.95


@pytest.mark.parametrize("shift", [0.2, 0.5, 0.9])
def test_five_seeds_convict_a_shift_of_the_exponent(shift: float) -> None:
    """In 95 % of audits, at the effects that were published."""
    found = rates("exponent", Truth(slope_change=shift), Scatter(), audits=AUDITS)
    assert found[CONVICTED] >= 0.95


def test_looks_stop_early() -> None:
    """Where a measure stays put, or moves far, about five seeds of 21 decide."""
    for truth, right in ((Truth(), ACQUITTED), (Truth(slope_change=0.4), CONVICTED)):
        found = staged_rates("exponent", truth, Scatter(), audits=STAGED_AUDITS)
        assert found[right] >= 0.95
        assert found["seeds"] <= 8


@pytest.mark.parametrize("fit", ["theil-sen", "repeated-medians"])
def test_robust_fits_withstand_a_run_gone_astray(fit: str) -> None:
    """One run of thirty, ten times off, leaves least squares without a verdict, these seldom."""
    astray = Scatter(diverged=True)
    shifted = Truth(slope_change=0.4)
    assert rates("exponent", shifted, astray, audits=AUDITS)[CONVICTED] < 0.05
    assert rates("exponent", shifted, astray, audits=AUDITS, fit=fit)[CONVICTED] > 0.6


# power laws


def share_bent(truth: Truth, scatter: Scatter, *, change: bool = False) -> float:
    """Return the share of simulated curves that are called no power law."""
    count = 0
    for curves in simulate(truth, scatter, audits=AUDITS):
        before, after = curves.measure["baseline"], curves.measure[PERTURBATION]
        curve, baseline = (after, before) if change else (before, None)
        count += bool(bent_parts(curve, tolerance=0.1, alpha=ALPHA, baseline=baseline))
    return count / AUDITS


@every_scatter
@pytest.mark.parametrize("bend", [0.0, 0.0999], ids=["straight", "bent by the tolerance"])
def test_power_laws_are_seldom_called_bent(scatter: Scatter, bend: float) -> None:
    """At a rate of alpha at most, up to what the tolerance allows."""
    assert share_bent(Truth(bend=bend), scatter) <= bound(AUDITS)
    assert share_bent(Truth(bend_change=bend), scatter, change=True) <= bound(AUDITS)


@pytest.mark.parametrize("bend", [-0.5, 0.5])
def test_broken_lines_are_recognized(bend: float) -> None:
    """Slopes that differ by 0.5 between small and large n, in nine of ten audits."""
    assert share_bent(Truth(bend=bend), Scatter()) >= 0.9
    assert share_bent(Truth(bend_change=bend), Scatter(), change=True) >= 0.9


def test_a_change_that_averages_out_is_seen() -> None:
    """Faster at small n, slower at large: the exponent over all n stays, and is no exponent."""
    truth = Truth(bend_change=0.8)
    found = rates("exponent", truth, Scatter(), audits=AUDITS)
    assert found[ACQUITTED] <= 0.02
    assert found[CONVICTED] >= 0.5


# finite test sets


@pytest.mark.parametrize("difficulty", [1.0, 5.0])
@pytest.mark.parametrize(("test_size", "error"), [(60, 0.02), (60, 0.2), (360, 0.05)])
def test_intervals_carry_the_noise_of_the_test_set(
    test_size: int, error: float, difficulty: float
) -> None:
    """They cover the error on all data in 95 % of test sets, down to hardly any mistakes."""
    sets = 200
    least = float(stats.binom.ppf(0.001, sets, 1 - ALPHA)) / sets
    found = coverage(test_size=test_size, error=error, difficulty=difficulty, sets=sets)
    assert min(found) >= least


def test_intervals_over_seeds_alone_do_not() -> None:
    """All seeds share the test set, so that their scatter does not show its noise."""
    slope, level = coverage(
        test_size=360, error=0.05, difficulty=5.0, sets=100, with_test_set=False
    )
    assert slope < 0.9
    assert level < 0.6


def test_more_seeds_do_not_take_the_test_sets_noise_away() -> None:
    """The interval of a level goes to that of the test set, not to nothing."""
    generator = np.random.default_rng(1)
    samples = generator.random(200) < 0.2
    curves = simulate(Truth(), Scatter(), audits=1, seeds=40)
    curve = next(curves).error["baseline"]
    mistaken = np.broadcast_to(samples, (*curve.values.shape, len(samples)))
    with_set = replace(curve, mistaken=mistaken)
    share = samples.mean()
    # of log10 of a binomial share, by the delta method
    expected = np.sqrt((1 - share) / share / len(samples)) / np.log(10.0)
    assert with_set.level.shared == pytest.approx(expected, rel=0.02)
    assert with_set.level.high - with_set.level.low > 2 * 1.96 * expected * 0.98
