"""The curves of the measures that every audit judges to audit itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pytest_fragility._util.lazy import OnDemand
from pytest_fragility._util.seeds import derive_generator
from pytest_fragility.curves import NOISE, PARAMETER_COUNT, TEST_ERROR, LearningCurve

if TYPE_CHECKING:
    from pytest_fragility.families.trained_family import Family
    from pytest_fragility.networks.runs import TrainedRun


def control_curves(
    family: Family, error: Mapping[str, LearningCurve]
) -> Mapping[str, Mapping[str, LearningCurve]]:
    """Return the learning curves of the controls, by control and recipe.

    No network is built for them: they are read off the records, the shapes of the weights and the
    identities of the runs, so that they cost next to nothing.

    Parameters
    ----------
    family
        The networks.
    error
        Test error's curves by recipe name.
    """

    def test_error(recipe: str) -> LearningCurve:
        # the same test set on both sides of every comparison: its noise cancels
        return replace(error[recipe].on_this_test_set(), name=TEST_ERROR)

    def of_runs(name: str, value: Callable[[TrainedRun], float]) -> Mapping[str, LearningCurve]:
        def curve(recipe: str) -> LearningCurve:
            values = [
                [value(family.trained_run(recipe, n, seed)) for seed in family.seeds_of(recipe)]
                for n in family.sizes
            ]
            return replace(error[recipe].on_this_test_set(), name=name, values=np.array(values))

        return OnDemand("recipe", list(error), curve)

    return {
        TEST_ERROR: OnDemand("recipe", list(error), test_error),
        PARAMETER_COUNT: of_runs(PARAMETER_COUNT, _parameter_count),
        NOISE: of_runs(NOISE, _noise),
    }


def _parameter_count(trained: TrainedRun) -> float:
    return float(sum(weight.numel() for weight in trained.weights.values()))


def _noise(trained: TrainedRun) -> float:
    """Return a random number in (0, 1] that has nothing to do with the network."""
    return 1.0 - float(derive_generator("control", trained.run.identity).random())
