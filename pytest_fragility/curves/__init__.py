"""Learning curves: power-law fits, one slope per seed, and intervals over seeds.

A name is loaded when it is first used: what a check asks is known without NumPy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
    from pytest_fragility.curves.learning_curve import LearningCurve, largest_slope_difference
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

_HOMES = {
    "changes": (
        "Change",
        "PairedCurves",
    ),
    "fits": (
        "FITS",
        "LEAST_SQUARES",
    ),
    "intervals": (
        "MOST_SEEDS",
        "ROUNDING",
        "Estimate",
        "UnpairedEstimate",
        "half_width",
        "most_seeds",
        "seeds_needed",
    ),
    "invariance": ("Invariance",),
    "ladder_curves": ("LadderCurves",),
    "learning_curve": (
        "LearningCurve",
        "largest_slope_difference",
    ),
    "learning_curves": (
        "CONTROLS",
        "NOISE",
        "PARAMETER_COUNT",
        "TEST_ERROR",
        "LearningCurves",
    ),
    "measure_noise": ("OwnNoise",),
    "power_law": (
        "Part",
        "bent_parts",
    ),
    "rank_correlation": ("Agreement",),
    "sensitivity": (
        "Sensitivity",
        "pairwise_differences",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

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
    "largest_slope_difference",
    "most_seeds",
    "pairwise_differences",
    "seeds_needed",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME_OF])
