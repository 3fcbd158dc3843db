"""A measure's learning curves under every recipe and over a ladder, test error's beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from pytest_fragility.curves.fits import LEAST_SQUARES
from pytest_fragility.curves.invariance import Invariance
from pytest_fragility.curves.ladder_curves import LadderCurves
from pytest_fragility.curves.learning_curve import LearningCurve
from pytest_fragility.curves.measure_noise import OwnNoise
from pytest_fragility.curves.pairing import seeds_to_compare
from pytest_fragility.curves.rank_correlation import Agreement
from pytest_fragility.perturbations import BASELINE
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
        Test samples; zero where that is not known.
    recipes
        Descriptions by recipe name, ``baseline`` first.
    sizes, seeds
        The grid; of networks that were trained elsewhere, the baseline's seeds.
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
    source
        What the networks, or the values, were read from; empty where they were trained here.
    left_out
        By recipe name: sentences on what is missing, or known too little of, to be told with every
        verdict that it bears on; absent where there is nothing to tell.
    incomplete
        By recipe name: why it has no learning curve at all; absent where it has one.
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
    source: str = ""
    left_out: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    incomplete: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def own_noise(self) -> OwnNoise | None:
        """The noise of the measure's own randomness; None where it draws no random numbers."""
        return self.find_own_noise()

    def judged(self, recipes: Sequence[str]) -> list[str]:
        """Return those of some recipes that have a learning curve."""
        return [recipe for recipe in recipes if recipe not in self.incomplete]

    def is_paired(self, recipe: str) -> bool:
        """Return whether a recipe is compared with the baseline seed by seed."""
        chosen = seeds_to_compare(self.error[recipe].seeds, self.error[BASELINE].seeds)
        return chosen[0] == chosen[1]

    def agreement(self, recipes: Sequence[str]) -> Agreement | None:
        """Return how well the measure agrees with test error over some recipes' networks.

        Over the seeds that all of them have; None where there is no such seed.
        """
        common = _common_seeds([self.error[recipe].seeds for recipe in recipes])
        if common is None:
            return None
        measure = [self.measure[recipe].over_seeds(common).values for recipe in recipes]
        error = [self.error[recipe].over_seeds(common).values for recipe in recipes]
        return Agreement.from_values(
            np.stack(measure),
            np.stack(error),
            recipes=recipes,
            sizes=self.sizes,
            test_size=self.test_size,
        )

    def to_table(self, path: Path | str, *others: LearningCurves, overwrite: bool = False) -> None:
        """Write the values to a table (CSV) that `Family.from_table` reads, whole or not at all.

        Parameters
        ----------
        path
            The file to write.
        *others
            Curves of other measures over the same networks, each a column more.
        overwrite
            Whether a file that is there already may be replaced.

        Raises
        ------
        TableError
            If the file is there, cannot be written, or the curves are not over the same networks.
        MeasureError
            If a measure fails on one of the networks.
        """
        from pytest_fragility.elsewhere.table_files import write_table

        write_table(Path(path), [self, *others], overwrite=overwrite)

    def __repr__(self) -> str:
        names = ", ".join(self.recipes)
        return self.code or f"<learning curves of {self.measure_name} under {names}>"


def _common_seeds(groups: Sequence[tuple[int, ...]]) -> tuple[int, ...] | None:
    """Return the seeds that all groups have, in the first one's order; None where there is none."""
    first, *others = groups
    common = tuple(seed for seed in first if all(seed in other for other in others))
    return common or (None if first or any(others) else ())
