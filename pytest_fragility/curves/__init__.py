"""Learning curves: power-law fits, one slope per seed, and intervals over seeds."""

from pytest_fragility.curves.changes import Change, PairedCurves
from pytest_fragility.curves.fits import FITS, LEAST_SQUARES
from pytest_fragility.curves.intervals import (
    MOST_SEEDS,
    ROUNDING,
    Estimate,
    UnpairedEstimate,
    half_width,
    most_seeds,
    seeds_needed,
)
from pytest_fragility.curves.invariance import Invariance
from pytest_fragility.curves.ladder_curves import LadderCurves
from pytest_fragility.curves.learning_curve import LearningCurve
from pytest_fragility.curves.learning_curves import (
    CONTROLS,
    NOISE,
    PARAMETER_COUNT,
    TEST_ERROR,
    LearningCurves,
)
from pytest_fragility.curves.measure_noise import OwnNoise
from pytest_fragility.curves.power_law import Part, bent_parts
from pytest_fragility.curves.rank_correlation import Agreement
from pytest_fragility.curves.sensitivity import Sensitivity, pairwise_differences

__all__ = [
    "CONTROLS",
    "FITS",
    "LEAST_SQUARES",
    "MOST_SEEDS",
    "NOISE",
    "PARAMETER_COUNT",
    "ROUNDING",
    "TEST_ERROR",
    "Agreement",
    "Change",
    "Estimate",
    "Invariance",
    "LadderCurves",
    "LearningCurve",
    "LearningCurves",
    "OwnNoise",
    "PairedCurves",
    "Part",
    "Sensitivity",
    "UnpairedEstimate",
    "bent_parts",
    "half_width",
    "most_seeds",
    "pairwise_differences",
    "seeds_needed",
]
