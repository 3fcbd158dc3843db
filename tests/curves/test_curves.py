"""Fits and intervals against NumPy's and SciPy's own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import count

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats

from pytest_fragility.curves import Estimate, LearningCurve, half_width, seeds_needed
from pytest_fragility.errors import SettingsError
from tests.in_turn import in_turn

Floats = npt.NDArray[np.float64]

SIZES = (16, 32, 64, 200)
SEEDS = 4

unhurried = settings(deadline=None)
positive = arrays.arrays(np.float64, (len(SIZES), SEEDS), elements=st.floats(1e-3, 1e3))
finite = arrays.arrays(np.float64, (len(SIZES), SEEDS), elements=st.floats(-1e3, 1e3))
alphas = st.sampled_from([0.01, 0.05, 0.1, 0.5])
samples = arrays.arrays(np.float64, st.integers(2, 12), elements=st.floats(-10, 10))


def curve(
    values: Floats, sizes: Sequence[int] = SIZES, *, alpha: float = 0.05, scale: str = "log"
) -> LearningCurve:
    """Return a learning curve over these values."""
    return LearningCurve("ruler", "baseline", tuple(sizes), values, alpha, scale)


@unhurried
@given(values=positive)
def test_slopes_are_least_squares_of_logarithms(values: Floats) -> None:
    """One slope per seed, as `numpy.polyfit` has it; levels are geometric means in decades."""
    found, x = curve(values).slopes, np.log(SIZES)
    assert found.shape == (SEEDS,)
    np.testing.assert_allclose(found, np.polyfit(x, np.log(values), 1)[0], atol=1e-9)
    fitted = curve(values)
    np.testing.assert_allclose(fitted.levels, np.log10(stats.gmean(values, axis=0)), atol=1e-9)
    assert fitted.middle == pytest.approx(stats.gmean(values, axis=None), rel=1e-9)


@unhurried
@given(values=finite)
def test_a_linear_scale_fits_plain_values(values: Floats) -> None:
    """Then slopes are those of value on log(n), and zero or negative values are welcome."""
    fitted = curve(values, scale="linear")
    np.testing.assert_allclose(fitted.slopes, np.polyfit(np.log(SIZES), values, 1)[0], atol=1e-7)
    np.testing.assert_allclose(fitted.levels, values.mean(axis=0), atol=1e-9)
    assert fitted.middle == pytest.approx(values.mean(), abs=1e-9)


@unhurried
@given(constant=st.floats(1e-6, 1e6), exponent=st.floats(-3, 3))
def test_a_power_law_gives_its_exponent(constant: float, exponent: float) -> None:
    """For c n^-a the exponent is a, and the interval has no width."""
    law = constant * np.array(SIZES, dtype=np.float64) ** -exponent
    fitted = curve(np.tile(law[:, None], SEEDS))
    assert fitted.exponent == pytest.approx(exponent, abs=1e-9)
    assert fitted.slope.low == pytest.approx(-exponent, abs=1e-9)
    assert fitted.slope.high == pytest.approx(-exponent, abs=1e-9)
    middle = math.prod(SIZES) ** (1 / len(SIZES))
    assert fitted.middle == pytest.approx(constant * middle**-exponent, rel=1e-9)


@unhurried
@given(values=positive, factor=st.floats(1e-6, 1e6))
def test_slopes_do_not_depend_on_units(values: Floats, factor: float) -> None:
    """Multiplying a measure shifts its level and leaves its slopes."""
    plain, scaled = curve(values), curve(values * factor)
    np.testing.assert_allclose(scaled.slopes, plain.slopes, atol=1e-9)
    np.testing.assert_allclose(scaled.levels - plain.levels, np.log10(factor), atol=1e-9)


@unhurried
@given(sample=samples, alpha=alphas)
def test_intervals_are_those_of_a_t_test(sample: Floats, alpha: float) -> None:
    """Mean, deviation and interval as SciPy's, for any level."""
    found = Estimate.from_samples(sample, alpha)
    error = sample.std(ddof=1) / len(sample) ** 0.5
    half = stats.t.ppf(1 - alpha / 2, len(sample) - 1) * error
    assert found.mean == pytest.approx(sample.mean(), abs=1e-12)
    assert found.deviation == pytest.approx(sample.std(ddof=1), abs=1e-12)
    assert (found.low, found.high) == pytest.approx(
        (sample.mean() - half, sample.mean() + half), abs=1e-9
    )
    assert (found.seeds, found.alpha) == (len(sample), alpha)


@in_turn("change", ["slope_change", "level_change"])
def test_changes_are_paired_over_seeds(change: str) -> None:
    """The interval of a change is that of `scipy.stats.ttest_rel`, not of two separate samples."""
    generator = np.random.default_rng(3)
    shared = generator.normal(size=(len(SIZES), 6))
    before = curve(np.exp(shared + 0.1 * generator.normal(size=shared.shape)), alpha=0.1)
    after = curve(np.exp(shared + 0.1 * generator.normal(size=shared.shape) + 0.2), alpha=0.1)
    found = getattr(after, change)(before)
    part = "slopes" if change == "slope_change" else "levels"
    paired = stats.ttest_rel(getattr(after, part), getattr(before, part)).confidence_interval(0.9)
    assert (found.low, found.high) == pytest.approx((paired.low, paired.high), abs=1e-12)
    apart = stats.ttest_ind(getattr(after, part), getattr(before, part)).confidence_interval(0.9)
    assert found.high - found.low < 0.5 * (apart.high - apart.low)


@in_turn(
    ("low", "high", "sign", "is_flat"),
    [
        (0.1, 0.2, 1, False),
        (-0.2, -0.1, -1, False),
        (-0.1, 0.2, 0, False),
        (0.0, 0.2, 0, False),
        (-0.2, 0.0, 0, False),
        (0.0, 0.0, 0, True),
        (-1e-12, 1e-12, 0, True),
        (-1e-6, 1e-6, 0, False),
    ],
)
def test_a_sign_needs_the_whole_interval(low: float, high: float, sign: int, is_flat: bool) -> None:
    """Zero inside, or at an end, means no sign; only rounding counts as flat."""
    found = Estimate((low + high) / 2, low, high, 0.1, 5, 0.05)
    assert (found.sign, found.is_flat) == (sign, is_flat)


@unhurried
@given(deviation=st.floats(0.01, 1.0), distance=st.floats(0.01, 1.0), alpha=alphas)
def test_seeds_needed_is_the_first_number_that_is_enough(
    deviation: float, distance: float, alpha: float
) -> None:
    """Against counting upwards with SciPy's quantiles, without a limit."""
    first = next(
        seeds
        for seeds in count(4)
        if seeds > 200 or stats.t.ppf(1 - alpha / 2, seeds - 1) * deviation / seeds**0.5 < distance
    )
    found = seeds_needed(3, lambda seeds: half_width(deviation, seeds, alpha) < distance)
    assert found == (None if first > 200 else first)


def test_no_number_of_seeds_shows_a_difference_of_zero() -> None:
    """A mean on the limit itself cannot be separated from it."""
    assert seeds_needed(2, lambda seeds: half_width(0.1, seeds, 0.05) < 0.0) is None
    assert seeds_needed(2, lambda seeds: half_width(0.0, seeds, 0.05) < 0.1) == 3


def test_one_seed_has_no_interval() -> None:
    """The error says how many seeds are needed."""
    fitted = curve(np.ones((len(SIZES), 1)))
    with pytest.raises(SettingsError, match=r"1 seed: an interval needs at least 2"):
        _ = fitted.slope


@in_turn("sizes", [(), (16,)])
def test_one_size_has_no_slope(sizes: tuple[int, ...]) -> None:
    """The error shows the sizes."""
    with pytest.raises(SettingsError, match=r"sizes \(.*\): a slope needs at least two sizes"):
        curve(np.ones((len(sizes), SEEDS)), sizes)


def test_rounding_gives_a_constant_measure_no_direction() -> None:
    """A constant's slope is zero up to rounding, in every seed alike: that is no certain sign."""
    sizes = (32, 64, 128, 256, 512)
    values = np.full((5, 5), 2.288135593220339)
    slope = LearningCurve("constant", "baseline", sizes, values, 0.05).slope
    assert slope.is_flat
    assert slope.sign == 0
