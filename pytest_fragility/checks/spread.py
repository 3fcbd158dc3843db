"""Whether a measure's value at fixed n stays within tolerance under a perturbation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_fragility.checks.comparing import compare_change, seeds_to_compare
from pytest_fragility.checks.kind import LEVEL
from pytest_fragility.checks.quantities import Quantity
from pytest_fragility.checks.recipe_kinds import GRID, Comparison, RecipeKind
from pytest_fragility.checks.verdicts import (
    BROKEN,
    INCONCLUSIVE,
    KEPT,
    Record,
    Verdict,
)
from pytest_fragility.checks.wording import interval, level

if TYPE_CHECKING:
    pass


_REASONS = {
    KEPT: "the value at fixed n stays within tolerance",
    BROKEN: "the value at fixed n moves too far",
    INCONCLUSIVE: "the value at fixed n: the interval straddles the tolerance",
}


class Spread(RecipeKind):
    """The level moves by no more than test error's does, plus the tolerance."""

    id = asked_as = "spread"
    asserts = "the value at the middle n moves as little as test error"
    looks_at = LEVEL
    options = ("spread_tolerance",)
    section = GRID

    def compare(self, found: Comparison) -> Verdict:
        """Return whether the level moved by no more than test error's did, plus the tolerance."""
        tolerance, change = found.tolerances.spread, found.curves.level_change
        evidence = found.evidence(
            self.looks_at, beyond=change.beyond, allowed=(-tolerance, tolerance)
        )
        status = compare_change(change, tolerance)
        needed = seeds_to_compare(change, [], tolerance) if status == INCONCLUSIVE else None
        return found.verdict(status, _REASONS[status], evidence, needed)

    def quantities(self, record: Record) -> dict[str, Quantity]:
        """Return by how many decades the level moved."""
        change = record["evidence"].get("change")
        return {"change": Quantity.of(record, "level_change", change)} if change else {}

    def law(self, record: Record, estimate: dict[str, float]) -> str:
        """Return the measure's level in words."""
        return level(estimate)

    def moved(self, change: dict[str, float]) -> str:
        """Return a change in decades, and as a factor."""
        return f"{interval(change)} (x {10 ** change['mean']:.2f})"

    def unit(self, scale: str) -> str:
        """Return what the numbers are."""
        return "log10(value)"

    def texts(self, record: Record) -> list[str]:
        """Return what the perturbation changes, and the factor by which the value does."""
        change = record["evidence"]["change"]["mean"]
        return [*super().texts(record), f"The value changes by a factor of {10**change:.3g}."]


KIND = Spread()
