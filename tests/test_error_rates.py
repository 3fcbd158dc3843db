"""How often a check errs, over many simulated audits with Gaussian noise."""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from pytest_fragility.checks.judging import judge
from pytest_fragility.checks.planning import EXPONENT, SPREAD, TREND, Check
from pytest_fragility.checks.tolerances import Tolerances
from pytest_fragility.checks.verdicts import BROKEN, KEPT
from pytest_fragility.perturbations import BASELINE
from tests.test_judging import SEEDS, Lines, make_curves

Floats = npt.NDArray[np.float64]

AUDITS = 400
ALPHA = 0.05
NOISE = 0.03
TOLERANCE = 0.1
# A rate of alpha is seen above this once in a thousand times.
BOUND = float(stats.binom.ppf(0.999, AUDITS, ALPHA)) / AUDITS
# A wide margin, so that no audit is excused because test error moved too far.
TOLERANCES = Tolerances(exponent=TOLERANCE, spread=TOLERANCE, margin=1.0)

kinds_of_change = pytest.mark.parametrize("kind", [EXPONENT, SPREAD])
# Test error itself stays, moves along, or moves the other way.
drifts = pytest.mark.parametrize("drift", [0.0, 0.06, -0.06], ids=["still", "along", "against"])


def rates(
    kind: str,
    *,
    before: float = -0.2,
    change: float,
    drift: float = 0.0,
    error_noise: float = NOISE,
    tolerances: Tolerances = TOLERANCES,
) -> Counter[str]:
    """Return how often each verdict is given, as a share of the simulated audits.

    In every seed the measure's slope and level move by `change` on average and test error's by
    `drift`, both with independent Gaussian noise on the paired difference.
    """
    generator = np.random.default_rng(20)

    def scattered(mean: float, noise: float = NOISE) -> Floats:
        return mean + noise * generator.standard_normal(SEEDS)

    counts: Counter[str] = Counter()
    for _ in range(AUDITS):
        measure = Lines(scattered(before), scattered(0.0))
        error = Lines(scattered(-0.3), scattered(-0.7))
        moved = Lines(measure.slopes + scattered(change), measure.levels + scattered(change))
        drifted = Lines(
            error.slopes + scattered(drift, error_noise),
            error.levels + scattered(drift, error_noise),
        )
        curves = make_curves({BASELINE: measure, "adam": moved}, {BASELINE: error, "adam": drifted})
        counts[judge(Check(kind, "adam"), curves, tolerances).status] += 1
    return Counter({status: count / AUDITS for status, count in counts.items()})


def farthest(drift: float, sign: int) -> float:
    """Return the largest change that may be called kept, in the direction of `sign`."""
    return sign * TOLERANCE + (drift if drift * sign > 0 else 0.0)


@kinds_of_change
@drifts
@pytest.mark.parametrize("sign", [-1, 1])
def test_a_fragile_measure_is_seldom_certified(kind: str, drift: float, sign: int) -> None:
    """One whose true change lies just outside what is allowed is kept at a rate of alpha at most.

    Test error's movement is itself uncertain, which must not help the measure.
    """
    outside = farthest(drift, sign) + sign * 0.001
    assert rates(kind, change=outside, drift=drift)[KEPT] <= BOUND


@kinds_of_change
@drifts
@pytest.mark.parametrize("sign", [-1, 1])
def test_an_innocent_measure_is_seldom_convicted(kind: str, drift: float, sign: int) -> None:
    """One whose true change lies just inside what is allowed is broken at a rate of alpha at most.

    Test error's movement is itself uncertain, which must not hurt the measure.
    """
    inside = farthest(drift, sign) - sign * 0.001
    assert rates(kind, change=inside, drift=drift)[BROKEN] <= BOUND


@kinds_of_change
def test_the_rates_are_not_held_by_deciding_nothing(kind: str) -> None:
    """With test error known exactly, verdicts at the tolerance come about as often as they may."""
    assert rates(kind, change=TOLERANCE + 1e-6, error_noise=0.0)[KEPT] >= 0.01
    assert rates(kind, change=TOLERANCE - 1e-6, error_noise=0.0)[BROKEN] >= 0.01


def test_a_reversal_is_seldom_certified() -> None:
    """A falling measure that truly rises a little under the change is kept at most at alpha."""
    assert rates(TREND, before=-0.2, change=0.2001)[KEPT] <= BOUND


def test_a_measure_that_still_falls_is_seldom_convicted() -> None:
    """A falling measure that truly falls a little under the change is broken at most at alpha."""
    assert rates(TREND, before=-0.2, change=0.1999)[BROKEN] <= BOUND


@kinds_of_change
def test_five_seeds_show_a_large_change(kind: str) -> None:
    """A shift of 0.3 is convicted in 95 % of audits, at the default settings."""
    assert rates(kind, change=0.3, tolerances=Tolerances())[BROKEN] >= 0.95


@kinds_of_change
def test_five_seeds_show_that_nothing_changed(kind: str) -> None:
    """A measure that stays put is kept in 90 % of audits, at the default settings."""
    assert rates(kind, change=0.0, tolerances=Tolerances())[KEPT] >= 0.9


def test_five_seeds_show_a_reversal() -> None:
    """From -0.2 to +0.1 is convicted in 95 % of audits, at the default settings."""
    assert rates(TREND, change=0.3, tolerances=Tolerances())[BROKEN] >= 0.95
