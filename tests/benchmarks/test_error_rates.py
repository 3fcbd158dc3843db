"""Error rates and power of the verdicts, over 10,000 simulated audits for each line.

Run with ``pytest tests/benchmarks/test_error_rates.py -s``; it takes about an hour. Each line says
what is true, how the noise is made, and how often the verdict was wrong. Rates are alpha at most,
up to what chance does to 10,000 audits once in 10,000 times.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy import stats

from pytest_fragility import measures
from pytest_fragility.auditing.from_settings import train_family
from pytest_fragility.checks.check import Check
from pytest_fragility.checks.registry import judge
from pytest_fragility.checks.tolerances import Tolerances
from pytest_fragility.evaluation.measured_curves import learning_curves
from pytest_fragility.perturbations import BASELINE
from pytest_fragility.settings import resolve_settings
from tests.simulated_audits import (
    ALPHA,
    CASES,
    CONVICTED,
    CORRELATION,
    DEVIATION,
    ERROR_DEVIATION,
    LOG_SIZES,
    PERTURBATION,
    PLAIN_CASES,
    SCATTERS,
    SEEDS,
    SIZES,
    WEIGHTS,
    Case,
    Floats,
    Scatter,
    Truth,
    curves_of,
    heavy_tailed,
    outcome,
    rates,
    staged_rates,
)
from tests.simulated_test_sets import coverage

AUDITS = 10_000
# six scatter too much themselves to say how seeds scatter
NOISE_SEEDS = 30
# audits of five of them, for each measure and perturbation
PICKS = 100
BOUND = float(stats.binom.ppf(1 - 1e-4, AUDITS, ALPHA)) / AUDITS

every_scatter = pytest.mark.parametrize("scatter", SCATTERS, ids=str)

MEASURES = (
    measures.path_norm,
    measures.parameter_norm,
    measures.frobenius_distance_from_initialization,
    measures.product_of_spectral_norms,
    measures.sum_of_frobenius_norms,
    measures.fisher_rao_norm,
)


@pytest.mark.parametrize("case", CASES, ids=str)
@every_scatter
def test_five_seeds(case: Case, scatter: str) -> None:
    """A fixed number of seeds."""
    rate = rates(case.kind, case.truth, SCATTERS[scatter], audits=AUDITS)[case.wrong]
    print(f"\n{case}, {scatter}: {case.wrong} in {100 * rate:.2f} %")
    assert rate <= BOUND


@pytest.mark.parametrize("case", PLAIN_CASES, ids=str)
@every_scatter
def test_looks(case: Case, scatter: str) -> None:
    """5, 8, 13 and 21 seeds, as long as they do not decide."""
    found = staged_rates(case.kind, case.truth, SCATTERS[scatter], audits=AUDITS)
    rate = found[case.wrong]
    print(f"\nin looks: {case}, {scatter}: {case.wrong} in {100 * rate:.2f} %")
    assert rate <= BOUND


@pytest.mark.parametrize("scatter", list(SCATTERS)[:-1], ids=str)
@pytest.mark.parametrize("shift", [0.2, 0.3, 0.5, 0.9])
def test_power(shift: float, scatter: str) -> None:
    """Five seeds convict a measure whose exponent shifts so far, in 95 % of audits.

    But for the smallest shift under tails that are far heavier than the family's, which is printed
    alone.
    """
    truth = Truth(slope_change=shift)
    rate = rates("exponent", truth, SCATTERS[scatter], audits=AUDITS)[CONVICTED]
    print(f"\nshift {shift}, {scatter}: convicted in {100 * rate:.2f} %")
    if (shift, scatter) != (0.2, heavy_tailed.__name__):
        assert rate >= 0.95


def test_power_under_the_familys_own_scatter() -> None:
    """Five of 30 seeds of the default family, whose exponent was shifted by 0.2: the median."""
    generator = np.random.default_rng(0)
    found, tails = [], []
    for heights in default_family_heights():
        own, error = (WEIGHTS @ (heights[place + 1] - heights[place]) for place in (0, 2))
        shifts = (0.0, 0.2 - own.mean(), 0.0, -error.mean())
        shifted = [
            each + shift * LOG_SIZES[:, None] for each, shift in zip(heights, shifts, strict=True)
        ]
        picks = [generator.choice(NOISE_SEEDS, SEEDS, replace=False) for _ in range(PICKS)]
        found.append(power([[each[:, pick] for each in shifted] for pick in picks]))
        tails.append((own - own.mean()) / own.std(ddof=1))
    kurtosis = stats.kurtosis(np.concatenate(tails))
    print(
        f"\nshift 0.2, the family's own scatter: convicted in {100 * np.median(found):.1f} % at "
        f"the median over {len(found)} changes, in 95 % or more under "
        f"{100 * np.mean(np.array(found) >= 0.95):.0f} % of them; excess kurtosis {kurtosis:.2f}"
    )
    assert np.median(found) >= 0.95


@pytest.mark.parametrize("deviation", [0.04, 0.05])
def test_power_where_seeds_scatter_more(deviation: float) -> None:
    """Printed alone: the smallest of the shifts, under more noise than most changes bring."""
    scatter = Scatter(deviation=deviation)
    found = rates("exponent", Truth(slope_change=0.2), scatter, audits=AUDITS)
    print(f"\nshift 0.2, deviation {deviation}: convicted in {100 * found[CONVICTED]:.2f} %")


@pytest.mark.parametrize("difficulty", [1.0, 5.0])
@pytest.mark.parametrize("error", [0.02, 0.05, 0.2])
@pytest.mark.parametrize("test_size", [60, 360, 1000])
def test_coverage(test_size: int, error: float, difficulty: float) -> None:
    """Intervals of test error cover what a test set without end would show."""
    found = coverage(test_size=test_size, error=error, difficulty=difficulty, sets=2_000)
    print(
        f"\n{test_size} test samples, error {error}, difficulty {difficulty}: slope covered in "
        f"{100 * found[0]:.1f} %, level in {100 * found[1]:.1f} %"
    )
    assert min(found) >= 1 - BOUND


def test_the_noise_is_that_of_the_default_family() -> None:
    """Medians over perturbations and measures: within a quarter of what simulations take."""
    found = []
    for before, after, error_before, error_after in default_family_heights():
        own, error = WEIGHTS @ (after - before), WEIGHTS @ (error_after - error_before)
        found.append([each.std(ddof=1) for each in (own, error, own - error)])
    medians = np.median(found, axis=0)
    print(
        f"\nmedians of {len(found)}, {NOISE_SEEDS} seeds: slope changes scatter by "
        f"{medians[0]:.3f}, test error's by {medians[1]:.3f}, their difference by {medians[2]:.3f}"
    )
    covariance = CORRELATION * DEVIATION * ERROR_DEVIATION
    difference = (DEVIATION**2 + ERROR_DEVIATION**2 - 2 * covariance) ** 0.5
    assert medians == pytest.approx([DEVIATION, ERROR_DEVIATION, difference], rel=1 / 4)


@cache
def default_family_heights() -> list[list[Floats]]:
    """Return, for each measure and perturbation, logarithms of (sizes, seeds).

    Of the measure at the baseline and under the perturbation, and of test error.
    """
    settings = resolve_settings({"seeds": NOISE_SEEDS, "ladder": "none"})
    assert settings.sizes == SIZES
    family = train_family(settings)
    found = []
    for measure in MEASURES:
        curves = learning_curves(measure, family)
        for name in settings.perturbations:
            if name not in curves.unfinished:
                pairs = [
                    each[recipe].values
                    for each in (curves.measure, curves.error)
                    for recipe in (BASELINE, name)
                ]
                found.append([np.log(values) for values in pairs])
    return found


def power(audits: list[list[Floats]]) -> float:
    """Return the share of audits, each of four curves' heights, that convict the exponent."""
    check = Check("exponent", PERTURBATION)
    convicted = [
        outcome(judge(check, curves_of(heights), Tolerances())) == CONVICTED for heights in audits
    ]
    return float(np.mean(convicted))
