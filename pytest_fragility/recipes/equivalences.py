"""Pairs of trainings that give the same function, by an identity and not by statistics."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from pytest_fragility.recipes import (
    SGD,
    Recipe,
    ScaleInvariantMLP,
    Schedule,
    exponential,
    fixed_steps,
)

NORMALIZATION_SCALE = "normalization-scale"
# named here too, so that planning needs no torch
SYMMETRY_NAMES = (
    "layer-rescaling",
    "neuron-rescaling",
    "permutation",
    "split-neurons",
    "dead-neurons",
    "silent-neurons",
    NORMALIZATION_SCALE,
    "logit-shift",
)
STEPS = 300
LEARNING_RATE = 0.1
WEIGHT_DECAY = 0.1
# a power of two, so that nothing is rounded differently
INITIALIZATION_FACTOR = 4.0


@dataclass(frozen=True)
class Equivalence:
    """Two recipes whose networks have the same function after every step.

    `recipes` maps the audit's baseline to the two: on a scale-invariant network with the baseline's
    widths and batch size, in float64.
    """

    name: str
    recipes: Callable[[Recipe], tuple[Recipe, Recipe]]
    summary: str

    @property
    def arms(self) -> tuple[str, str]:
        """What the two recipes are called in a family."""
        return f"{self.name}, first", f"{self.name}, second"


def _scale_invariant(baseline: Recipe, optimizer: SGD) -> Recipe:
    widths = getattr(baseline.architecture, "hidden", ())
    hidden = tuple(max(3, width) for width in widths) or (64,)
    return Recipe(
        architecture=ScaleInvariantMLP(hidden=hidden),
        optimizer=optimizer,
        batch_size=baseline.batch_size,
        precision="float64",
        stopping=fixed_steps(STEPS),
    )


def exponential_rate(baseline: Recipe) -> tuple[Recipe, Recipe]:
    """Weight decay at a constant rate, and none at an exponentially increasing one.

    Let a = 1 - h l for rate h and decay l. With w the decayed weights, w_t / a^t follows the
    gradient at the rates h a^-(2t + 1) (Li & Arora 2020, for plain SGD).
    """
    decayed = _scale_invariant(baseline, SGD(lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY))
    shrink = 1 - LEARNING_RATE * WEIGHT_DECAY
    growing: Schedule = exponential(1, factor=shrink**-2)
    return decayed, dataclasses.replace(
        decayed, optimizer=SGD(lr=LEARNING_RATE / shrink), schedule=growing
    )


def initialization_rate(baseline: Recipe) -> tuple[Recipe, Recipe]:
    """An initialization, and one c times as large at c^2 times the rate.

    The gradient of a function that does not notice the weights' scale is 1 / c at c w.
    """
    plain = _scale_invariant(baseline, SGD(lr=LEARNING_RATE))
    return plain, dataclasses.replace(
        plain,
        initialization_scale=INITIALIZATION_FACTOR,
        optimizer=SGD(lr=LEARNING_RATE * INITIALIZATION_FACTOR**2),
    )


EQUIVALENCES = {
    equivalence.name: equivalence
    for equivalence in (
        Equivalence(
            "exponential-rate",
            exponential_rate,
            "constant rate with weight decay, exponentially increasing rate without",
        ),
        Equivalence(
            "initialization-rate",
            initialization_rate,
            "initial weights as they are, and x 4 at 16 times the rate",
        ),
    )
}
