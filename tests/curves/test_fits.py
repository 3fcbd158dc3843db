"""Lines through learning curves, against SciPy's."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats

from pytest_fragility.curves import FITS, LearningCurve
from pytest_fragility.curves.fits import slope_weights
from tests.in_turn import in_turn

Floats = npt.NDArray[np.float64]

X = np.log([16.0, 32.0, 64.0, 200.0, 500.0])
SEEDS = 3

unhurried = settings(deadline=None)
heights_drawn = arrays.arrays(np.float64, (len(X), SEEDS), elements=st.floats(-10, 10))
every_fit = in_turn("fit", FITS)


@unhurried
@given(heights=heights_drawn)
def test_least_squares_is_linregress(heights: Floats) -> None:
    """Slopes, and heights at the mean of x."""
    slopes, levels = FITS["least-squares"](X, heights)
    for seed in range(SEEDS):
        line = stats.linregress(X, heights[:, seed])
        assert slopes[seed] == pytest.approx(line.slope, abs=1e-9)
        assert levels[seed] == pytest.approx(line.intercept + line.slope * X.mean(), abs=1e-8)


@unhurried
@given(heights=heights_drawn)
def test_theil_sen_is_scipys(heights: Floats) -> None:
    """The median of the slopes of all pairs."""
    slopes, _ = FITS["theil-sen"](X, heights)
    expected = [stats.theilslopes(heights[:, seed], X).slope for seed in range(SEEDS)]
    np.testing.assert_allclose(slopes, expected, atol=1e-9)


@unhurried
@given(heights=heights_drawn)
def test_repeated_medians_are_scipys(heights: Floats) -> None:
    """The median of every point's median slope."""
    slopes, _ = FITS["repeated-medians"](X, heights)
    expected = [stats.siegelslopes(heights[:, seed], X).slope for seed in range(SEEDS)]
    np.testing.assert_allclose(slopes, expected, atol=1e-9)


@every_fit
@given(slope=st.floats(-3, 3), level=st.floats(-10, 10))
def test_a_line_is_found_as_it_is(fit: str, slope: float, level: float) -> None:
    """Slope, and height at the middle."""
    heights = np.tile((level + slope * (X - X.mean()))[:, None], SEEDS)
    slopes, levels = FITS[fit](X, heights)
    np.testing.assert_allclose(slopes, slope, atol=1e-9)
    np.testing.assert_allclose(levels, level, atol=1e-9)


@in_turn("fit", ["theil-sen", "repeated-medians"])
@in_turn("place", range(len(X)))
def test_one_point_far_off_moves_no_robust_line(fit: str, place: int) -> None:
    """Wherever it lies; least squares follows it."""
    heights = np.tile((1 - 0.3 * (X - X.mean()))[:, None], SEEDS)
    heights[place] += 50.0
    slopes, levels = FITS[fit](X, heights)
    np.testing.assert_allclose(slopes, -0.3, atol=1e-9)
    np.testing.assert_allclose(levels, 1.0, atol=1e-9)
    assert abs(FITS["least-squares"](X, heights)[1][0] - 1.0) > 1.0


@given(heights=heights_drawn)
def test_weights_add_up_to_the_slope(heights: Floats) -> None:
    """As `numpy.polyfit` has it."""
    np.testing.assert_allclose(slope_weights(X) @ heights, np.polyfit(X, heights, 1)[0], atol=1e-9)


@every_fit
def test_a_curve_is_fitted_by_name(fit: str) -> None:
    """In its own logarithms, level in decades."""
    generator = np.random.default_rng(0)
    values = np.exp(generator.normal(size=(len(X), SEEDS)))
    sizes = tuple(round(float(n)) for n in np.exp(X))
    curve = LearningCurve("ruler", "baseline", sizes, values, 0.05, fit=fit)
    slopes, levels = FITS[fit](np.log(sizes), np.log(values))
    np.testing.assert_allclose(curve.slopes, slopes)
    np.testing.assert_allclose(curve.levels, levels / np.log(10.0))
