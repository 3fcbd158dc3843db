"""Whether a measure's exponent stays within tolerance under a perturbation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_fragility.checks.comparing import (
    compare_changes,
    find_parts,
    part_sizes,
    seeds_to_compare,
)
from pytest_fragility.checks.kind import SLOPE
from pytest_fragility.checks.quantities import Quantity
from pytest_fragility.checks.recipe_kinds import GRID, Comparison, RecipeKind
from pytest_fragility.checks.verdicts import (
    BROKEN,
    INCONCLUSIVE,
    KEPT,
    PartEvidence,
    Record,
    Verdict,
)

if TYPE_CHECKING:
    pass


_REASONS = {
    False: {
        KEPT: "the exponent stays within tolerance",
        BROKEN: "the exponent moves too far",
        INCONCLUSIVE: "the exponent: the interval straddles the tolerance",
    },
    True: {
        KEPT: "no power law, so that there is no one exponent; the slope over each part of the "
        "curve stays within tolerance",
        BROKEN: "no power law, so that there is no one exponent; the curve's slope moves too far",
        INCONCLUSIVE: "no power law, so that there is no one exponent; whether the slope over each "
        "part of the curve stays within tolerance is not certain",
    },
}


class Exponent(RecipeKind):
    """The exponent moves by no more than test error's does, plus the tolerance."""

    id = asked_as = "exponent"
    asserts = "the exponent moves as little as test error's"
    looks_at = SLOPE
    options = ("exponent_tolerance",)
    section = GRID

    def compare(self, found: Comparison) -> Verdict:
        """Return whether the exponent moved by no more than test error's did, plus the tolerance.

        Where a curve is no power law it has no one exponent. The slope over all sizes is then an
        average of those over its parts: that it moved too far still shows that some part did; that
        it did not move shows nothing, so that the slope over each part must stay within tolerance
        as well.
        """
        tolerance, curves = found.tolerances.exponent, found.curves
        bent, cut = find_parts(curves.before, curves.after, tolerance)
        pieces = [curves.part(part) for part in cut]
        whole, changes = curves.slope_change, [piece.slope_change for piece in pieces]
        evidence = found.evidence(
            self.looks_at,
            beyond=whole.beyond,
            allowed=(-tolerance, tolerance),
            bent=bent,
            parts=tuple(
                PartEvidence(
                    part_sizes(curves.before, part),
                    piece.before.slope,
                    piece.after.slope,
                    change.own,
                    change.beyond,
                )
                for part, piece, change in zip(cut, pieces, changes, strict=True)
            ),
        )
        status = compare_changes(whole, changes, tolerance)
        needed = seeds_to_compare(whole, changes, tolerance) if status == INCONCLUSIVE else None
        return found.verdict(status, _REASONS[bool(bent)][status], evidence, needed)

    def quantity(self, record: Record) -> Quantity | None:
        """Return by how much the exponent moved."""
        return self.quantities(record).get("change")


KIND = Exponent()
