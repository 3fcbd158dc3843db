"""Whether a learning curve keeps sign and exponent where the training stops elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pytest_fragility import curves as statistics
from pytest_fragility.checks import exponent, trend
from pytest_fragility.checks.check import Check
from pytest_fragility.checks.kind import SLOPE, Asked, Kind, Section
from pytest_fragility.checks.recipe_kinds import (
    Comparison,
    RecipeKind,
    named_row,
    row,
    slope_cells,
    verdict_cell,
)
from pytest_fragility.checks.verdicts import (
    INCONCLUSIVE,
    Evidence,
    Record,
    SlopeEvidence,
    Verdict,
    worst,
)
from pytest_fragility.curves.resources import STOPPING_POINTS

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class StoppingEvidence(Evidence):
    """What a verdict on a checkpoint rests on: the checks of the sign and of the exponent.

    Parameters
    ----------
    trend, exponent
        Their verdicts.
    exponent_evidence
        The exponent's numbers, those of the slopes among them.
    """

    trend: str
    exponent: str
    exponent_evidence: SlopeEvidence

    def to_dict(self) -> dict[str, Any]:
        """Return the evidence as plain JSON types, all on one level."""
        statuses = {"trend": self.trend, "exponent": self.exponent}
        return {**statuses, **self.exponent_evidence.to_dict()}


class Checkpoints(Section):
    """One row for each checkpoint along the baseline's training."""

    def lines(self, kinds: Sequence[Kind], records: Sequence[Record]) -> list[str]:
        """Return the rows, with the measure's slopes and test error's."""
        lines = [row("at checkpoints", "measure's slope", "error's", "verdict")]
        for record in records:
            cells = ("not admissible", "", "-")
            if record["applicable"]:
                slopes = slope_cells(record, "perturbed") if record["evidence"] else ("", "")
                cells = (*slopes, verdict_cell(record))
            lines.append(named_row(record["perturbation"], *cells))
        return lines


class Stopping(RecipeKind):
    """A checkpoint keeps what a perturbation must keep: sign and exponent."""

    id = asked_as = "stopping"
    asserts = "both hold where the training stops elsewhere"
    looks_at = SLOPE
    of_any_recipe = over_perturbations = False
    options = ("checkpoints", "exponent_tolerance")
    needs: ClassVar = {
        STOPPING_POINTS: "it compares recipes that only stop elsewhere, such as stop-accuracy or "
        "past-x2, and none is called so; checkpoints= names them"
    }
    section = Checkpoints()

    def checks(self, asked: Asked) -> list[Check]:
        """Return a check of each checkpoint."""
        return [Check(self.id, name) for name in asked.stops]

    def compare(self, found: Comparison) -> Verdict:
        """Demand of a checkpoint what is demanded of a perturbation: sign and exponent."""
        sign, slopes = verdicts = [kind.compare(found) for kind in (trend.KIND, exponent.KIND)]
        status = worst([each.status for each in verdicts])
        assert isinstance(slopes.evidence, SlopeEvidence)
        needs = [each.seeds_needed for each in verdicts if each.status == INCONCLUSIVE]
        return found.verdict(
            status,
            "; ".join(each.reason for each in verdicts if each.status == status),
            StoppingEvidence(sign.status, slopes.status, slopes.evidence),
            statistics.most_seeds(needs) if status == INCONCLUSIVE else None,
        )

    def slopes(self, verdict: Verdict) -> SlopeEvidence | None:
        """Return the exponent's numbers."""
        evidence = verdict.evidence
        return evidence.exponent_evidence if isinstance(evidence, StoppingEvidence) else None


KIND = Stopping()
