"""A measure's learning curves under every recipe and over a ladder, test error's beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from pytest_fragility.curves.agreement import Agreement
from pytest_fragility.curves.fits import LEAST_SQUARES
from pytest_fragility.curves.invariance import Invariance
from pytest_fragility.curves.ladder import LadderCurves
from pytest_fragility.curves.learning_curve import LearningCurve
from pytest_fragility.curves.own_noise import OwnNoise
from pytest_fragility.reprs import PrintsItsRepr

TEST_ERROR, PARAMETER_COUNT, NOISE = CONTROLS = ("test error", "parameter count", "noise")


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class LearningCurves(PrintsItsRepr):
    """A measure's curves under every recipe, test error's beside them.

    Parameters
    ----------
    measure_name, task_name, device
        Whose curves, of what, on which kind of device.
    form
        What the measure's value is, such as ``raw value``; empty where it does not say.
    test_size
        Test samples.
    recipes
        Descriptions by recipe name, ``baseline`` first.
    sizes, seeds
        The grid.
    alpha
        Intervals have level ``1 - alpha``.
    scale
        The measure's: ``"log"`` or ``"linear"``.
    fit
        How lines are fitted.
    looks
        Where seeds are trained as they are needed: with how many the checks are looked at; empty
        where their number was fixed.
    measure
        The measure's curves by recipe name; each is computed when it is first asked for.
    error
        Test error's curves by recipe name.
    unfinished
        By recipe name: in words, what kept runs from their stopping target; absent where all
        reached it.
    constant
        Whether the measure looks at no trained network, and so is the same under all recipes of
        one architecture.
    ladder
        The curves over a ladder of tasks; None where none was asked for.
    controls
        By name of a control, of `CONTROLS`: its curves by recipe name.
    find_own_noise
        Asks the measure a second time; see `own_noise`.
    without_seeds
        Returns the curves over the other seeds, where the measure fails with some; None where that
        is not known.
    code
        Code that makes them, which their repr shows; empty where that is not known.
    invariances
        By the id of a check of a symmetry or equivalence: the measure's values on networks with
        the same function, or a text that says why there are none.
    """

    measure_name: str
    task_name: str
    device: str
    form: str = ""
    test_size: int = 0
    recipes: dict[str, str]
    sizes: tuple[int, ...]
    seeds: tuple[int, ...]
    alpha: float
    scale: str = "log"
    fit: str = LEAST_SQUARES
    looks: tuple[int, ...] = ()
    measure: Mapping[str, LearningCurve]
    error: dict[str, LearningCurve]
    unfinished: dict[str, str]
    constant: bool = False
    ladder: LadderCurves | None = None
    invariances: Mapping[str, Invariance | str] = field(default_factory=dict)
    controls: Mapping[str, Mapping[str, LearningCurve]] = field(default_factory=dict)
    find_own_noise: Callable[[], OwnNoise | None] = lambda: None
    without_seeds: Callable[[frozenset[int]], LearningCurves] | None = None
    code: str = ""

    @cached_property
    def own_noise(self) -> OwnNoise | None:
        """The noise of the measure's own randomness; None where it draws no random numbers."""
        return self.find_own_noise()

    def agreement(self, recipes: Sequence[str]) -> Agreement:
        """Return how well the measure agrees with test error over some recipes' networks."""
        curves = [self.error[recipe] for recipe in recipes]
        return Agreement.from_values(
            np.stack([self.measure[recipe].values for recipe in recipes]),
            np.stack([curve.values for curve in curves]),
            recipes=recipes,
            sizes=self.sizes,
            test_size=self.test_size,
        )

    def __repr__(self) -> str:
        names = ", ".join(self.recipes)
        return self.code or f"<learning curves of {self.measure_name} under {names}>"
