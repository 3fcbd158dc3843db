"""What all families have in common: networks trained here or elsewhere, and values in a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from pytest_fragility.families.grids import Place
from pytest_fragility.families.selection import Asked, FullPlace, roles
from pytest_fragility.perturbations import BASELINE
from pytest_fragility.rows.counted_errors import CountedError

if TYPE_CHECKING:
    from typing_extensions import Self

    from pytest_fragility.curves import LearningCurves
    from pytest_fragility.tasks.task import Task


class Observed:
    """What an audit may be of: it says what it offers, and knows no kinds of checks.

    `source` is what reports say of where it comes from, nothing for networks trained here; `asked`,
    what of it is audited.
    """

    source: str
    asked: Asked

    @property
    def offers(self) -> frozenset[str]:
        """What kinds of checks may need of it, as `curves.resources` names it."""
        raise NotImplementedError

    @property
    def task(self) -> Task:
        """What is learned; of a table, a task without data."""
        raise NotImplementedError

    @property
    def descriptions(self) -> dict[str, str]:
        """Recipes in words by name, the baseline first."""
        raise NotImplementedError

    @property
    def sizes(self) -> tuple[int, ...]:
        """Training set sizes, ascending."""
        raise NotImplementedError

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds, ascending."""
        raise NotImplementedError

    @property
    def ladder_name(self) -> str | None:
        """What reports call the tasks that are compared; None where there are none."""
        raise NotImplementedError

    def audited(self, asked: Asked) -> Self:
        """Return the family of which this is audited.

        Raises
        ------
        TableError, SettingsError
            If it is not there.
        """
        raise NotImplementedError

    @property
    def perturbations(self) -> tuple[str, ...]:
        """Names of the recipes that are judged as perturbations."""
        return self._roles[0]

    @property
    def checkpoints(self) -> tuple[str, ...]:
        """Names of those that are judged as stopping points; some may be perturbations, too."""
        return self._roles[1]

    @property
    def _roles(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return roles([name for name in self.descriptions if name != BASELINE], self.asked)

    def column(self, measure: Any) -> str | None:
        """Return the column that has a measure's values; None where networks are asked.

        Raises
        ------
        TableError
            If there are only values, and none of this name.
        """
        return None

    def known_curves(
        self, measure: Any, *, name: str | None, alpha: float, scale: str, fit: str
    ) -> LearningCurves | None:
        """Return the learning curves of a measure's values; None where networks are asked."""
        return None


@dataclass(frozen=True)
class Observation:
    """One row of a file: a network with its test error, None where a table's cell is empty."""

    where: str
    task: str
    recipe: str
    n: int
    seed: int
    counted: CountedError | None

    @property
    def place(self) -> FullPlace:
        """Which network it is."""
        return self.task, self.recipe, self.n, self.seed

    @property
    def cells(self) -> Mapping[str, Any]:
        """What is said of it, by column: one of them may count epochs."""
        raise NotImplementedError


Row = TypeVar("Row", bound=Observation)


def of_task(rows: Iterable[Row], task: str) -> dict[Place, Row]:
    """Return the rows of a task, by recipe, n and seed."""
    return {(each.recipe, each.n, each.seed): each for each in rows if each.task == task}
