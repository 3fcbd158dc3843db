"""Learning curves: power-law fits, one slope per seed, and intervals over seeds."""

from pytest_fragility.curves.estimate import (
    MOST_SEEDS,
    ROUNDING,
    Estimate,
    half_width,
    seeds_needed,
)
from pytest_fragility.curves.invariance import Invariance
from pytest_fragility.curves.ladder import LadderCurves
from pytest_fragility.curves.learning_curve import LearningCurve
from pytest_fragility.curves.learning_curves import LearningCurves
from pytest_fragility.curves.sensitivity import Sensitivity, pairwise_differences

__all__ = [
    "MOST_SEEDS",
    "ROUNDING",
    "Estimate",
    "Invariance",
    "LadderCurves",
    "LearningCurve",
    "LearningCurves",
    "Sensitivity",
    "half_width",
    "pairwise_differences",
    "seeds_needed",
]
