"""A measure's learning curves under every recipe and over a ladder, test error's beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pytest_fragility.curves.invariance import Invariance
from pytest_fragility.curves.ladder import LadderCurves
from pytest_fragility.curves.learning_curve import LearningCurve
from pytest_fragility.reprs import PrintsItsRepr


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class LearningCurves(PrintsItsRepr):
    """A measure's curves under every recipe, test error's beside them.

    Parameters
    ----------
    measure_name, task_name, device
        Whose curves, of what, on which kind of device.
    form
        What the measure's value is, such as ``raw value``; empty where it does not say.
    recipes
        Descriptions by recipe name, ``baseline`` first.
    sizes, seeds
        The grid.
    alpha
        Intervals have level ``1 - alpha``.
    scale
        The measure's: ``"log"`` or ``"linear"``.
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
    recipes: dict[str, str]
    sizes: tuple[int, ...]
    seeds: tuple[int, ...]
    alpha: float
    scale: str = "log"
    measure: Mapping[str, LearningCurve]
    error: dict[str, LearningCurve]
    unfinished: dict[str, str]
    constant: bool = False
    ladder: LadderCurves | None = None
    invariances: Mapping[str, Invariance | str] = field(default_factory=dict)
    code: str = ""

    def __repr__(self) -> str:
        names = ", ".join(self.recipes)
        return self.code or f"<learning curves of {self.measure_name} under {names}>"
