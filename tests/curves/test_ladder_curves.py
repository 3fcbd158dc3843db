"""Sensitivities, rank agreement and fits over a ladder, against NumPy's and SciPy's own."""

from __future__ import annotations

import json
import math
from itertools import combinations, pairwise, permutations

import numpy as np
import numpy.typing as npt
import pytest
from scipy import optimize, stats

from pytest_fragility.curves import LadderCurves, LearningCurve, Sensitivity, pairwise_differences
from tests.in_turn import in_turn

Floats = npt.NDArray[np.float64]

SIZES = (16, 32, 64, 200)
ALPHA = 0.05
FAR = 1e4

numbers_of_tasks = in_turn("tasks", [2, 3, 6])


def paired(
    tasks: int, slope: float, *, seeds: int = 5, noise: float = 0.04, start: int = 0
) -> tuple[Floats, Floats]:
    """Return values of a measure and of test error, (tasks, seeds), whose noise is correlated."""
    generator = np.random.default_rng(start)
    means = np.linspace(0.05, 0.55, tasks)[:, None]
    scatter = generator.standard_normal((2, tasks, seeds))
    error = means + noise * scatter[0]
    return 0.3 + slope * means + noise * (0.5 * scatter[0] + scatter[1]), error


def more_seeds(measure: Floats, error: Floats, seeds: int) -> tuple[Floats, Floats]:
    """Return values for more seeds, with exactly the same means and covariance over seeds."""
    together = np.vstack([measure, error])
    fresh = np.random.default_rng(1).standard_normal((len(together), seeds))
    fresh -= fresh.mean(axis=1, keepdims=True)
    white = np.linalg.solve(np.linalg.cholesky(np.cov(fresh)), fresh)
    spread = np.linalg.cholesky(np.cov(together)) @ white
    grown = together.mean(axis=1, keepdims=True) + spread
    return grown[: len(measure)], grown[len(measure) :]


def contrasts(values: Floats, error: Floats) -> Floats:
    """Return each seed's values along the direction of all other seeds' mean test error."""
    found = []
    for seed in range(values.shape[1]):
        others = np.delete(error, seed, axis=1).mean(axis=1)
        direction = others - others.mean()
        found.append(float(np.dot(direction / np.linalg.norm(direction), values[:, seed])))
    return np.array(found)


def ends_of_test(measure: Floats, error: Floats, alpha: float) -> tuple[float, float]:
    """Return the ends of the set of ratios that a t test at level alpha does not reject."""
    top, bottom = contrasts(measure, error), contrasts(error, error)

    def excess(ratio: float) -> float:
        return float(stats.ttest_1samp(top - ratio * bottom, 0.0).pvalue) - alpha

    middle = top.mean() / bottom.mean()
    return (
        float(optimize.brentq(excess, middle - FAR, middle, xtol=1e-12)),
        float(optimize.brentq(excess, middle, middle + FAR, xtol=1e-12)),
    )


def ladder_of(measure: Floats, error: Floats, alpha: float = ALPHA) -> LadderCurves:
    """Return a ladder of values of shape (tasks, sizes, seeds)."""

    def curves(name: str, values: Floats) -> dict[str, LearningCurve]:
        return {
            f"task-{index}": LearningCurve(name, "baseline", SIZES, each, alpha)
            for index, each in enumerate(values)
        }

    return LadderCurves(
        name="steps",
        measure=curves("ruler", measure),
        error=curves("test error", error),
        unfinished={},
    )


def positive(tasks: int, start: int = 0, seeds: int = 5) -> Floats:
    """Return positive values of shape (tasks, sizes, seeds)."""
    return np.exp(np.random.default_rng(start).standard_normal((tasks, len(SIZES), seeds)))


@numbers_of_tasks
@in_turn("start", range(3))
def test_it_is_the_slope_of_a_regression_over_tasks(tasks: int, start: int) -> None:
    """Of mean measure on mean test error, by least squares; without noise exactly."""
    for noise, tolerance in ((0.0, 1e-9), (0.04, 0.02)):
        measure, error = paired(tasks, 0.7, noise=noise, start=start)
        measure = measure + np.linspace(-1, 1, tasks)[:, None] ** 2
        slope = np.polyfit(error.mean(axis=1), measure.mean(axis=1), 1)[0]
        found = Sensitivity.from_samples(measure, error, ALPHA).mean
        assert found == pytest.approx(slope, rel=tolerance)


def test_a_seeds_own_error_has_no_part_in_its_direction() -> None:
    """One wild seed turns the others' contrasts, and not its own."""
    _, error = paired(3, 1.0, noise=0.0)
    wild = error.copy()
    wild[:, 0] = wild[::-1, 0]
    found = Sensitivity.from_samples(wild, wild, ALPHA)
    assert found.denominator == pytest.approx(contrasts(wild, wild).mean(), rel=1e-12)
    assert contrasts(wild, wild)[0] == pytest.approx(-contrasts(error, error)[0])


@in_turn(
    ("tasks", "slope", "alpha", "seeds"),
    [
        *((2, -1.5, 0.05, 5), (2, 0.0, 0.2, 3), (2, 1.0, 0.05, 12), (3, -0.2, 0.2, 12)),
        *((3, 0.3, 0.05, 5), (3, 6.0, 0.2, 3), (6, 0.0, 0.05, 3), (6, 1.0, 0.2, 5)),
        *((6, -1.5, 0.2, 12), (2, 6.0, 0.05, 12), (6, 0.3, 0.05, 12), (3, 1.0, 0.05, 3)),
    ],
)
def test_the_interval_holds_the_ratios_that_a_t_test_does_not_reject(
    tasks: int, slope: float, alpha: float, seeds: int
) -> None:
    """Both ends are where the test's p value passes alpha, found by bisection."""
    measure, error = paired(tasks, slope, seeds=seeds, noise=0.02, start=seeds)
    found = Sensitivity.from_samples(measure, error, alpha)
    low, high = ends_of_test(measure, error, alpha)
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-7)
    assert found.low < found.mean < found.high


def test_the_interval_is_not_symmetric_about_the_mean() -> None:
    """An uncertain denominator reaches further up than down."""
    measure, error = paired(2, 1.0, noise=0.08)
    found = Sensitivity.from_samples(measure, error, ALPHA)
    assert found.high - found.mean > 1.1 * (found.mean - found.low)


@numbers_of_tasks
def test_it_is_unbounded_where_test_errors_change_is_uncertain(tasks: int) -> None:
    """Where the t test does not tell test error's contrast from zero; JSON has no number then."""
    candidates = (paired(tasks, 0.7, noise=1.0, seeds=3, start=start) for start in range(100))
    measure, error = next(
        (measure, error)
        for measure, error in candidates
        if stats.ttest_1samp(contrasts(error, error), 0.0).pvalue >= ALPHA
    )
    found = Sensitivity.from_samples(measure, error, ALPHA)
    assert (found.low, found.high) == (-math.inf, math.inf)
    assert found.to_dict() == {"mean": found.mean, "low": None, "high": None}
    json.dumps(found.to_dict(), allow_nan=False)


def test_it_is_bounded_as_soon_as_test_errors_change_is_certain() -> None:
    """A level just above and just below the p value of test error's contrast."""
    measure, error = paired(3, 0.7, noise=0.12, seeds=4)
    p_value = float(stats.ttest_1samp(contrasts(error, error), 0.0).pvalue)
    assert math.isinf(Sensitivity.from_samples(measure, error, 0.999 * p_value).high)
    assert math.isfinite(Sensitivity.from_samples(measure, error, 1.001 * p_value).high)


def test_it_has_no_mean_where_test_error_is_the_same_for_all_tasks() -> None:
    """Nor an interval; in JSON all three are null."""
    measure, _ = paired(3, 0.7)
    found = Sensitivity.from_samples(measure, np.full((3, 5), 0.25), ALPHA)
    assert math.isnan(found.mean)
    assert found.to_dict() == {"mean": None, "low": None, "high": None}


@numbers_of_tasks
@in_turn("factor", [0.25, 1.0, -0.3])
def test_a_multiple_of_test_error_has_its_factor(tasks: int, factor: float) -> None:
    """With an interval of no width, whatever is added for all tasks."""
    _, error = paired(tasks, 1.0)
    found = Sensitivity.from_samples(factor * error + 5.0, error, ALPHA)
    assert found.mean == pytest.approx(factor, rel=1e-9)
    assert (found.low, found.high) == pytest.approx((factor, factor), rel=1e-5)


@numbers_of_tasks
def test_a_measure_that_is_the_same_for_all_tasks_has_zero(tasks: int) -> None:
    """Even where it differs from seed to seed."""
    _, error = paired(tasks, 1.0)
    measure = np.tile(np.linspace(0.1, 0.9, 5), (tasks, 1))
    found = Sensitivity.from_samples(measure, error, ALPHA)
    assert (found.mean, found.low, found.high) == pytest.approx((0.0, 0.0, 0.0), abs=1e-7)


def test_order_and_what_a_seed_adds_to_all_tasks_mean_nothing() -> None:
    """Neither that of tasks nor of seeds, as long as both quantities share it."""
    measure, error = paired(4, 0.7)
    expected = list(Sensitivity.from_samples(measure, error, ALPHA).to_dict().values())
    for order in permutations(range(4)):
        found = Sensitivity.from_samples(measure[list(order)], error[list(order)], ALPHA)
        assert list(found.to_dict().values()) == pytest.approx(expected, abs=1e-9)
    added = np.array([3.0, -1.0, 0.5, 2.0, 0.0]), np.array([-0.2, 0.7, 1.0, 0.0, 0.4])
    for moved in ((measure[:, ::-1], error[:, ::-1]), (measure + added[0], error + added[1])):
        found = Sensitivity.from_samples(*moved, ALPHA)
        assert list(found.to_dict().values()) == pytest.approx(expected, abs=1e-9)


def test_pairing_over_seeds_counts() -> None:
    """Shuffling the measure's seeds leaves the mean, and widens the interval of a follower."""
    _, error = paired(3, 1.0)
    found = Sensitivity.from_samples(error[:, [1, 2, 3, 4, 0]], error, ALPHA)
    assert found.mean == pytest.approx(1.0, rel=0.01)
    assert found.high - found.low > 0.01


def test_it_says_what_more_seeds_would_show() -> None:
    """As if it were computed from so many seeds of the same means and covariance."""
    measure, error = paired(2, 0.7)
    few = Sensitivity.from_samples(measure, error, ALPHA)
    widths = [few.with_seeds(seeds).high - few.with_seeds(seeds).low for seeds in range(5, 50)]
    assert all(later < sooner for sooner, later in pairwise(widths))
    for seeds in (6, 12, 40):
        many = Sensitivity.from_samples(*more_seeds(measure, error, seeds), ALPHA)
        foretold = few.with_seeds(seeds)
        assert foretold.seeds == seeds
        assert list(foretold.to_dict().values()) == pytest.approx(
            list(many.to_dict().values()), abs=1e-9
        )


@in_turn("start", range(3))
def test_rank_agreement_is_kendalls(start: int) -> None:
    """Of each seed, at the largest n; then the mean and its interval over seeds."""
    ladder = ladder_of(positive(4, start), positive(4, start + 100))
    taus = [
        stats.kendalltau(
            [ladder.measure[task].values[-1, seed] for task in ladder.error],
            [curve.values[-1, seed] for curve in ladder.error.values()],
        ).statistic
        for seed in range(5)
    ]
    found = ladder.rank_agreement
    assert found.mean == pytest.approx(np.mean(taus), abs=1e-12)
    assert found.deviation == pytest.approx(np.std(taus, ddof=1), abs=1e-12)
    assert (found.seeds, found.alpha) == (5, ALPHA)
    assert ladder.largest_size == SIZES[-1]


def test_ties_in_rank_count_for_neither_order() -> None:
    """Pairs are still counted: two of three tasks that tie leave two pairs of three."""
    error, measure = np.ones((3, len(SIZES), 2)), np.ones((3, len(SIZES), 2))
    error[:, -1] = np.array([[0.1], [0.2], [0.3]])
    measure[:, -1] = np.array([[1.0], [1.0], [2.0]])
    assert ladder_of(measure, error).rank_agreement.mean == pytest.approx(2 / 3)
    assert ladder_of(error, measure).rank_agreement.mean == pytest.approx(2 / 3)
    assert ladder_of(np.ones_like(error), error).rank_agreement.mean == 0.0
    assert ladder_of(1 / measure, error).rank_agreement.mean == pytest.approx(-2 / 3)


def certainly_differ(values: Floats) -> bool:
    """Return whether the interval of any pair lies on one side of zero."""
    return any(difference.sign for difference in pairwise_differences(values, ALPHA))


def test_tasks_differ_where_a_paired_t_test_of_some_two_says_so() -> None:
    """At a level that all pairs share."""
    outcomes = []
    for start in range(200):
        generator = np.random.default_rng(start)
        tasks = int(generator.integers(2, 5))
        values = 0.1 * generator.standard_normal((tasks, 1))
        values = values + 0.05 * generator.standard_normal((tasks, 5))
        pairs = list(combinations(values, 2))
        p_values = [float(stats.ttest_rel(one, other).pvalue) for one, other in pairs]
        expected = any(p_value < ALPHA / len(pairs) for p_value in p_values)
        assert certainly_differ(values) == expected
        outcomes.append((expected, any(p_value < ALPHA for p_value in p_values)))
    # both answers, and some where sharing the level decides
    assert {(True, True), (False, True), (False, False)} == set(outcomes)


def test_exponents_and_levels_are_those_of_fits_to_logarithms() -> None:
    """Minus the slope, and the fit's height in decades in the middle of log(n)."""
    measure, error = positive(3, 5), positive(3, 6)
    ladder = ladder_of(measure, error)
    x = np.log10(SIZES)
    for place, values in enumerate((measure, error)):
        for task in range(3):
            slopes, heights = np.polyfit(x - x.mean(), np.log10(values[task]), 1)
            np.testing.assert_allclose(ladder.exponents[place][task], -slopes, atol=1e-9)
            np.testing.assert_allclose(ladder.levels[place][task], heights, atol=1e-9)
    assert ladder.alpha == ALPHA


def test_tasks_are_matched_by_name() -> None:
    """The measure's curves may come in another order than test error's."""
    measure, error = positive(3, 5), positive(3, 6)
    ladder = ladder_of(measure, error)
    turned = LadderCurves(
        name="steps",
        measure=dict(reversed(list(ladder.measure.items()))),
        error=ladder.error,
        unfinished={},
    )
    for found, expected in zip(
        turned.exponents + turned.levels, ladder.exponents + ladder.levels, strict=True
    ):
        np.testing.assert_array_equal(found, expected)
    assert turned.rank_agreement == ladder.rank_agreement
