"""Where learning curves are cut, and what is called bent; error rates are in test_error_rates."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pytest_fragility.curves import LearningCurve, bent_parts
from pytest_fragility.curves.power_law import cut_into_parts
from tests.in_turn import in_turn

SIZES = (32, 64, 128, 256, 512, 1024)
X = np.log(SIZES) - np.mean(np.log(SIZES))
NOISE = 0.01 * np.linspace(-1, 1, 5)


def curve(heights: np.ndarray, sizes: tuple[int, ...] = SIZES) -> LearningCurve:
    """Return a curve of five seeds around heights, their slopes and bends a little apart."""
    x = np.log(sizes) - np.mean(np.log(sizes))
    scattered = heights[:, None] + np.outer(x, NOISE) + np.outer(x**2, NOISE[::-1])
    return LearningCurve("ruler", "baseline", sizes, np.exp(scattered), 0.05)


@given(sizes=st.integers(3, 30), number=st.sampled_from([2, 3]))
def test_parts_cover_the_curve(sizes: int, number: int) -> None:
    """From the first place to the last, each beginning where or before the one before ended."""
    found = cut_into_parts(sizes, number)
    assert len(found) == number
    assert (found[0][0], found[-1][1]) == (0, sizes - 1)
    for (_, end), (begin, _) in pairwise(found):
        assert begin <= end <= begin + 1
    if sizes > number:
        assert all(end > begin for begin, end in found)


def test_six_sizes() -> None:
    """Halves meet around the middle, thirds too."""
    assert cut_into_parts(6, 2) == [(0, 3), (2, 5)]
    assert cut_into_parts(6, 3) == [(0, 2), (1, 4), (3, 5)]
    assert cut_into_parts(5, 2) == [(0, 2), (2, 4)]
    assert cut_into_parts(7, 3) == [(0, 2), (2, 4), (4, 6)]


SHAPES = {
    "plateau": np.where(X > 0, 0.0, -0.8 * X),
    "broken line": np.where(X > 0, 0.5 * X, -0.5 * X),
    "double descent": np.array([0.0, -0.6, -0.2, 0.5, -0.1, -0.7]),
    "step": np.array([0.0, 0.0, 0.0, -1.5, -1.5, -1.5]),
}


@in_turn("shape", SHAPES)
def test_what_is_no_power_law_is_recognized(shape: str) -> None:
    """With hardly any noise, each of the shapes that learning curves take."""
    assert bent_parts(curve(SHAPES[shape]), tolerance=0.1, alpha=0.05)


@in_turn("slope", [-2.0, -0.3, 0.0, 0.7])
def test_a_power_law_is_not_bent(slope: float) -> None:
    """Whatever its slope."""
    assert not bent_parts(curve(slope * X), tolerance=0.1, alpha=0.05)


def test_a_ratio_of_bent_curves_may_be_a_power_law() -> None:
    """What bends both alike is not in the change."""
    before = curve(SHAPES["broken line"])
    after = curve(SHAPES["broken line"] + 0.3 * X)
    assert bent_parts(after, tolerance=0.1, alpha=0.05)
    assert not bent_parts(after, tolerance=0.1, alpha=0.05, baseline=before)
    plateau = curve(SHAPES["plateau"])
    assert bent_parts(plateau, tolerance=0.1, alpha=0.05, baseline=before)


def test_the_parts_are_those_that_show_it() -> None:
    """A broken line by its halves, a descent between two others by its thirds."""
    assert len(bent_parts(curve(SHAPES["broken line"]), tolerance=0.1, alpha=0.05)) == 2
    wave = np.array([0.0, 0.0, -0.9, -1.8, -1.8, -1.8])
    assert len(bent_parts(curve(wave), tolerance=0.1, alpha=0.05)) == 3


def test_two_points_are_always_a_line() -> None:
    """There is nothing to be seen."""
    assert not bent_parts(curve(np.array([0.0, 5.0]), (32, 64)), tolerance=0.1, alpha=0.05)


def test_three_points_may_bend() -> None:
    """By halves that share the point in the middle."""
    bent = curve(np.array([0.0, -1.0, 0.0]), (32, 64, 128))
    assert bent_parts(bent, tolerance=0.1, alpha=0.05) == [(0, 1), (1, 2)]
