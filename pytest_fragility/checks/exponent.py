"""Whether a measure's exponent stays within tolerance under a perturbation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_fragility.checks.check import Check
from pytest_fragility.checks.comparing import (
    compare_changes,
    find_parts,
    part_sizes,
    seeds_to_compare,
)
from pytest_fragility.checks.kind import SLOPE
from pytest_fragility.checks.quantities import Quantity
from pytest_fragility.checks.recipe_kinds import GRID, RecipeKind
from pytest_fragility.checks.tolerances import Tolerances
from pytest_fragility.checks.verdicts import (
    BROKEN,
    INCONCLUSIVE,
    KEPT,
    Admissibility,
    PartEvidence,
    Record,
    SlopeEvidence,
    Verdict,
)

if TYPE_CHECKING:
    from pytest_fragility.curves import PairedCurves


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

    def compare(
        self,
        check: Check,
        paired: PairedCurves,
        tolerances: Tolerances,
        admissibility: Admissibility,
    ) -> Verdict:
        """Return whether the exponent moved by no more than test error's did, plus the tolerance.

        Where a curve is no power law it has no one exponent. The slope over all sizes is then an
        average of those over its parts: that it moved too far still shows that some part did; that
        it did not move shows nothing, so that the slope over each part must stay within tolerance
        as well.
        """
        tolerance = tolerances.exponent
        bent, cut = find_parts(paired.before, paired.after, tolerance)
        pieces = [paired.part(part) for part in cut]
        whole, changes = paired.slope_change, [piece.slope_change for piece in pieces]
        evidence = SlopeEvidence(
            paired.before.slope,
            paired.error_before.slope,
            perturbed=paired.after.slope,
            change=whole.own,
            beyond=whole.beyond,
            allowed=(-tolerance, tolerance),
            error_perturbed=paired.error_after.slope,
            error_change=admissibility.slope_change,
            bent=bent,
            parts=tuple(
                PartEvidence(
                    part_sizes(paired.before, part),
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
        return Verdict(check, status, _REASONS[bool(bent)][status], evidence, admissibility, needed)

    def quantity(self, record: Record) -> Quantity | None:
        """Return by how much the exponent moved."""
        return self.quantities(record).get("change")


KIND = Exponent()
