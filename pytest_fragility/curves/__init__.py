"""Learning curves: power-law fits, one slope per seed, intervals over seeds, and what they show.

A name is loaded when it is first used: what a check asks is known without NumPy. Kinds of checks
import this package and name what they need; a new public name is one line below.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_fragility._util.lazy import lazy_face

if TYPE_CHECKING:
    from pytest_fragility.curves.fits import FITS as FITS
    from pytest_fragility.curves.fits import LEAST_SQUARES as LEAST_SQUARES
    from pytest_fragility.curves.intervals import MOST_SEEDS as MOST_SEEDS
    from pytest_fragility.curves.intervals import ROUNDING as ROUNDING
    from pytest_fragility.curves.intervals import Estimate as Estimate
    from pytest_fragility.curves.intervals import UnpairedEstimate as UnpairedEstimate
    from pytest_fragility.curves.intervals import half_width as half_width
    from pytest_fragility.curves.intervals import most_seeds as most_seeds
    from pytest_fragility.curves.intervals import seeds_needed as seeds_needed
    from pytest_fragility.curves.invariance_values import Invariance as Invariance
    from pytest_fragility.curves.ladder_curves import LadderCurves as LadderCurves
    from pytest_fragility.curves.learning_curve import LearningCurve as LearningCurve
    from pytest_fragility.curves.learning_curves import CONTROLS as CONTROLS
    from pytest_fragility.curves.learning_curves import NOISE as NOISE
    from pytest_fragility.curves.learning_curves import PARAMETER_COUNT as PARAMETER_COUNT
    from pytest_fragility.curves.learning_curves import TEST_ERROR as TEST_ERROR
    from pytest_fragility.curves.learning_curves import LearningCurves as LearningCurves
    from pytest_fragility.curves.measure_noise import OwnNoise as OwnNoise
    from pytest_fragility.curves.paired_curves import Change as Change
    from pytest_fragility.curves.paired_curves import PairedCurves as PairedCurves
    from pytest_fragility.curves.power_law import Part as Part
    from pytest_fragility.curves.power_law import bent_parts as bent_parts
    from pytest_fragility.curves.rank_correlation import Agreement as Agreement
    from pytest_fragility.curves.sensitivity import Sensitivity as Sensitivity
    from pytest_fragility.curves.sensitivity import pairwise_differences as pairwise_differences

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_face()
