"""A measure's learning curves under every recipe and over a ladder, test error's beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_fragility._util.csv_texts import csv_text
from pytest_fragility._util.files import is_there, write_whole
from pytest_fragility._util.validation import PrintsItsRepr
from pytest_fragility.curves.fits import LEAST_SQUARES
from pytest_fragility.curves.invariance_values import Invariance
from pytest_fragility.curves.ladder_curves import LadderCurves
from pytest_fragility.curves.learning_curve import LearningCurve, seeds_to_compare
from pytest_fragility.curves.measure_noise import OwnNoise
from pytest_fragility.curves.rank_correlation import Agreement
from pytest_fragility.errors import TableError
from pytest_fragility.perturbations import BASELINE
from pytest_fragility.rows.columns import (
    DESCRIPTION,
    ERROR_COLUMN,
    MISTAKEN,
    PARAMETERS,
    RECIPE,
    RESERVED,
    SEED,
    TASK,
    TEST_SIZE,
    UNFINISHED,
    N,
    packed,
)

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

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
        grid = self.over_common_seeds(recipes)
        return grid and Agreement.from_values(
            *grid, recipes=recipes, sizes=self.sizes, test_size=self.test_size
        )

    def over_common_seeds(self, recipes: Sequence[str]) -> tuple[Floats, Floats] | None:
        """Return the measure's values and test errors, shape (recipes, sizes, seeds) each.

        Over the seeds that all of these recipes have; None where there is no such seed.
        """
        common = _common_seeds([self.error[recipe].seeds for recipe in recipes])
        if common is None:
            return None
        measure = [self.measure[recipe].over_seeds(common).values for recipe in recipes]
        error = [self.error[recipe].over_seeds(common).values for recipe in recipes]
        return np.stack(measure), np.stack(error)

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
        write_table(Path(path), [self, *others], overwrite=overwrite)

    def __repr__(self) -> str:
        names = ", ".join(self.recipes)
        return self.code or f"<learning curves of {self.measure_name} under {names}>"


def _common_seeds(groups: Sequence[tuple[int, ...]]) -> tuple[int, ...] | None:
    """Return the seeds that all groups have, in the first one's order; None where there is none."""
    first, *others = groups
    common = tuple(seed for seed in first if all(seed in other for other in others))
    return common or (None if first or any(others) else ())


def write_table(path: Path, curves: Sequence[LearningCurves], *, overwrite: bool) -> None:
    """Write the values of measures over the same networks; see `LearningCurves.to_table`."""
    if is_there(path) and not overwrite:
        raise TableError(f"{path} is there already; say overwrite=True to have it replaced")
    _require_same_networks(curves)
    rows = [row for place in _places(curves[0]) for row in _rows_of(curves, *place)]
    columns = list(dict.fromkeys(column for row in rows for column in row))
    text = csv_text(columns, ([row.get(column) for column in columns] for row in rows))
    try:
        write_whole(path, text)
    except OSError as error:
        raise TableError(f"{path} cannot be written: {error.strerror or error}") from error


def _require_same_networks(curves: Sequence[LearningCurves]) -> None:
    first = curves[0]
    names = [each.measure_name for each in curves]
    for each in curves:
        if names.count(each.measure_name) > 1 or each.measure_name in RESERVED:
            raise TableError(
                f"two columns would be called {each.measure_name!r}; give a measure another name"
            )
        same = (each.task_name, each.sizes, each.seeds, each.recipes)
        if same != (first.task_name, first.sizes, first.seeds, first.recipes):
            raise TableError(
                f"{each.measure_name} and {first.measure_name} are not measured on the same "
                "networks; write a table of each"
            )


def _places(curves: LearningCurves) -> Iterator[tuple[str, str]]:
    """Yield tasks with recipes: those of the ladder in its order, so that it is read back so."""
    own = [(curves.task_name, recipe) for recipe in curves.error]
    rungs = list(curves.ladder.error) if curves.ladder else []
    if curves.task_name not in rungs:
        yield from own
    for task in rungs:
        yield from own if task == curves.task_name else [(task, BASELINE)]


def _rows_of(curves: Sequence[LearningCurves], task: str, recipe: str) -> Iterator[dict[str, Any]]:
    first = curves[0]
    own = task == first.task_name
    error = _curve(first, task, recipe, "error")
    unfinished = first.unfinished.get(recipe, "") if own else ""
    if first.ladder and not own:
        unfinished = first.ladder.unfinished.get(task, "")
    # what has not ended as it should has values that are never looked at, or none
    values = {
        each.measure_name: None if unfinished else _curve(each, task, recipe, "measure").values
        for each in curves
    }
    count = first.controls.get(PARAMETER_COUNT, {}) if own else {}
    parameters = count[recipe].values if recipe in count else None
    for i, n in enumerate(error.sizes):
        for k, seed in enumerate(error.seeds or first.seeds):
            yield {
                TASK: task,
                RECIPE: recipe,
                N: n,
                SEED: seed,
                **_counted(error, i, k),
                **{
                    name: "" if own_values is None else float(own_values[i, k])
                    for name, own_values in values.items()
                },
                PARAMETERS: "" if parameters is None else int(parameters[i, k]),
                DESCRIPTION: first.recipes[recipe],
                UNFINISHED: unfinished,
            }


def _curve(curves: LearningCurves, task: str, recipe: str, quantity: str) -> LearningCurve:
    if task == curves.task_name:
        found: LearningCurve = getattr(curves, quantity)[recipe]
        return found
    assert curves.ladder is not None
    rung: LearningCurve = getattr(curves.ladder, quantity)[task]
    return rung


def _counted(error: LearningCurve, i: int, k: int) -> dict[str, Any]:
    """Return a test error as it was counted, without the continuity correction."""
    if error.mistaken is not None:
        mask = error.mistaken[i, k]
        share = int(mask.sum()) / len(mask)
        return {ERROR_COLUMN: share, TEST_SIZE: len(mask), MISTAKEN: packed(mask)}
    value, size = float(error.values[i, k]), error.test_size
    if not size:
        return {ERROR_COLUMN: value, TEST_SIZE: "", MISTAKEN: ""}
    return {ERROR_COLUMN: (value * (size + 1) - 0.5) / size, TEST_SIZE: size, MISTAKEN: ""}
