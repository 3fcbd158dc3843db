"""Simulated finite test sets: the true learning curve is known, so that coverage can be counted."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import expit

from pytest_fragility.curves import LearningCurve
from tests.simulated_audits import LOG_SIZES, SEEDS, SIZES, WEIGHTS

Floats = npt.NDArray[np.float64]

OF_SEEDS = 0.3
# difficulties of samples, and deviations of seeds: standard normal, on a grid
GRID = np.linspace(-6.0, 6.0, 1001)
DENSITY = np.exp(-(GRID**2) / 2) / np.exp(-(GRID**2) / 2).sum()


def coverage(
    *, test_size: int, error: float, difficulty: float, sets: int, with_test_set: bool = True
) -> tuple[float, float]:
    """Return how often 95 % intervals cover the true slope and level of log test error.

    A network mistakes a sample with a probability that depends on the sample's difficulty, on n
    and on the seed; all networks share the test set.

    Parameters
    ----------
    test_size
        Samples in each test set.
    error
        Test error at the middle of the sizes.
    difficulty
        How far samples differ, in logits: the larger, the more all networks mistake the same ones.
    sets
        How many test sets are drawn.
    with_test_set
        Whether intervals are told which samples were mistaken.
    """
    generator = np.random.default_rng(4)
    shifts = np.array(
        [
            brentq(lambda shift, aim=aim: _error(shift, difficulty) - aim, -60.0, 60.0)
            for aim in error * np.exp(-0.3 * LOG_SIZES)
        ]
    )
    heights = np.array(
        [
            DENSITY @ np.log([_error(shift + OF_SEEDS * seed, difficulty) for seed in GRID])
            for shift in shifts
        ]
    )
    slope, level = float(WEIGHTS @ heights), float(heights.mean() / np.log(10.0))
    covered = np.zeros(2)
    for _ in range(sets):
        samples = difficulty * generator.standard_normal(test_size)
        seeds = shifts[:, None] + OF_SEEDS * generator.standard_normal((len(SIZES), SEEDS))
        chances = expit(seeds[:, :, None] + samples)
        mistaken = generator.random(chances.shape) < chances
        values = (mistaken.sum(axis=2) + 0.5) / (test_size + 1)
        curve = LearningCurve(
            "test error",
            "baseline",
            SIZES,
            values,
            0.05,
            mistaken=mistaken if with_test_set else None,
        )
        covered += [
            curve.slope.low <= slope <= curve.slope.high,
            curve.level.low <= level <= curve.level.high,
        ]
    of_slope, of_level = covered / sets
    return float(of_slope), float(of_level)


def _error(shift: float, difficulty: float) -> float:
    return float(DENSITY @ expit(shift + difficulty * GRID))
