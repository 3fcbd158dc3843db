"""What the kinds have in common that compare one recipe with the baseline: judging and words."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_fragility import curves as statistics
from pytest_fragility.checks.admissibility import compare_with_margin, judge_admissibility
from pytest_fragility.checks.check import Check
from pytest_fragility.checks.kind import LEVEL, Asked, Kind, Section
from pytest_fragility.checks.quantities import Quantity
from pytest_fragility.checks.tolerances import Tolerances
from pytest_fragility.checks.verdicts import (
    BROKEN,
    INADMISSIBLE,
    INCONCLUSIVE,
    KEPT,
    UNDECIDED,
    Admissibility,
    Evidence,
    Record,
    SlopeEvidence,
    Verdict,
)
from pytest_fragility.checks.wording import (
    LOG,
    Table,
    bent_mark,
    indented,
    interval,
    part_lines,
    power,
    recipe_change,
    remark,
)
from pytest_fragility.checks.wording import level as level_law
from pytest_fragility.perturbations import BASELINE

if TYPE_CHECKING:
    from pytest_fragility.curves import Estimate, LearningCurves, PairedCurves

SHORT = {KEPT: "kept", BROKEN: "BROKEN", INCONCLUSIVE: "inconcl."}
COLUMNS = (16, 22, 9, 11, 11, 9)


@dataclass(frozen=True)
class Comparison:
    """A recipe's learning curves beside the baseline's, to be judged.

    Parameters
    ----------
    check
        Of a perturbation or checkpoint.
    curves
        Under the baseline, and under that.
    tolerances
        How far the measure may move.
    admissibility
        The perturbation's.
    """

    check: Check
    curves: PairedCurves
    tolerances: Tolerances
    admissibility: Admissibility

    def evidence(self, looks_at: str, **more: Any) -> SlopeEvidence:
        """Return the slopes, or levels, of all four curves and how they changed."""
        curves = self.curves
        return SlopeEvidence(
            getattr(curves.before, looks_at),
            getattr(curves.error_before, looks_at),
            perturbed=getattr(curves.after, looks_at),
            change=getattr(curves, f"{looks_at}_change").own,
            error_perturbed=getattr(curves.error_after, looks_at),
            error_change=getattr(self.admissibility, f"{looks_at}_change"),
            **more,
        )

    def verdict(
        self, status: str, reason: str, evidence: Evidence, needed: int | None = None
    ) -> Verdict:
        """Return a verdict with the perturbation's admissibility."""
        return Verdict(self.check, status, reason, evidence, self.admissibility, needed)


class RecipeKind(Kind):
    """A kind whose checks compare a recipe's learning curves with the baseline's."""

    compares_recipes = True
    of_any_recipe = True
    over_perturbations = True

    def checks(self, asked: Asked) -> list[Check]:
        """Return a check of each perturbation."""
        return [Check(self.id, name) for name in asked.perturbations]

    def judge_curves(self, check: Check, curves: LearningCurves, tolerances: Tolerances) -> Verdict:
        """Return what `compare` does, where the recipe is certainly a small change."""
        name = check.perturbation
        admissibility = judge_admissibility(curves, name, margin=tolerances.margin)
        if admissibility.status == INADMISSIBLE:
            reason = f"{name} is not a small change here: {admissibility.reason}"
            return Verdict(check, INCONCLUSIVE, reason, admissibility=admissibility)
        paired = statistics.PairedCurves(
            curves.measure[BASELINE],
            curves.measure[name],
            curves.error[BASELINE],
            curves.error[name],
        )
        verdict = self.compare(Comparison(check, paired, tolerances, admissibility))
        return _undecided(verdict, tolerances) if admissibility.status == UNDECIDED else verdict

    @abstractmethod
    def compare(self, found: Comparison) -> Verdict:
        """Return whether the measure kept what the check asserts, admissibility aside."""

    def slopes(self, verdict: Verdict) -> SlopeEvidence | None:
        """Return the evidence, which is of slopes or levels."""
        return verdict.evidence if isinstance(verdict.evidence, SlopeEvidence) else None

    def quantities(self, record: Record) -> dict[str, Quantity]:
        """Return the exponent under the check's recipe, and by how much it differs."""
        evidence = record["evidence"]
        if not evidence:
            return {}
        exponent = Quantity.of_slope(record, evidence.get("perturbed", evidence[BASELINE]))
        found = {exponent.name: exponent}
        # where a change is judged, and not only shown
        if "allowed" in evidence:
            found["change"] = Quantity.of_slope(record, evidence["change"], "_change")
        return found

    def numbers(self, record: Record) -> list[str]:
        """Return the laws under both recipes, how they differ, and what is allowed."""
        evidence, name = record["evidence"], record["perturbation"]
        width = max(len(BASELINE), len(name))
        lines = [f"  {BASELINE:<{width}}  {self.law(record, evidence[BASELINE])}"]
        if "perturbed" in evidence:
            lines.append(f"  {name:<{width}}  {self.law(record, evidence['perturbed'])}")
        if "allowed" in evidence:
            low, high = evidence["allowed"]
            moved = f"{self.moved(evidence['change'])}, allowed {low:+.2f} to {high:+.2f}"
            lines.append(f"  {'change':<{width}}  {moved}")
            lines.append(f"  (beyond test error's own change: {interval(evidence['beyond'])})")
        lines += part_lines(record)
        if name != BASELINE:
            lines += remark(f"({name}: {recipe_change(record['baseline'], record['recipe'])})")
        return lines

    def law(self, record: Record, estimate: dict[str, float]) -> str:
        """Return the measure's slope in words."""
        return power(estimate, record["scale"])

    def moved(self, change: dict[str, float]) -> str:
        """Return a change in words."""
        return interval(change)

    def test_error(self, record: Record) -> list[str]:
        """Say that the network itself barely changed."""
        evidence, levels, name = record["evidence"], record["error_levels"], record["perturbation"]
        if name == BASELINE or "error_perturbed" not in evidence or name not in levels:
            return []
        is_small = record["admissibility"] == "admissible"
        barely = "barely changed" if is_small else "changed as follows"
        form = level_law if self.looks_at == LEVEL else power
        width = max(len(BASELINE), len(name))
        return [
            f"The network itself {barely}: test error {levels[BASELINE]:.3f} -> {levels[name]:.3f}"
            f" at n = {_middle(record)},",
            f"  {BASELINE:<{width}}  {form(evidence['error_baseline'], name='error')}",
            f"  {name:<{width}}  {form(evidence['error_perturbed'], name='error')}",
            *remark(f"({record['admissibility']}: {record['admissibility_reason']})"),
        ]

    def table(self, record: Record) -> Table:
        """Return the measure's numbers beside test error's."""
        found, scale = record["evidence"], record["scale"]
        rows = [
            [
                record[name] if name != BASELINE else BASELINE,
                interval(found[side], scale) + bent_mark(record, side),
                _optional(found.get(f"error_{side}")),
            ]
            for side, name in ((BASELINE, BASELINE), ("perturbed", "perturbation"))
            if side in found
        ]
        if "change" in found:
            error_change = _optional(found.get("error_change"))
            rows.append(["change", interval(found["change"], scale), error_change])
        if "beyond" in found:
            rows.append(["change beyond test error's", interval(found["beyond"], scale), ""])
        if "allowed" in found:
            low, high = found["allowed"]
            rows.append(["allowed", f"{low:+.2f} to {high:+.2f}", ""])
        for part in found.get("parts", []):
            slopes = [
                interval(part[side], scale) for side in (BASELINE, "perturbed") if side in part
            ]
            first, last = part["sizes"]
            rows.append([f"over n = {first}..{last}", " → ".join(slopes), ""])
        return Table(["", f"measure's {self.unit(scale)}", "test error's"], rows)

    def unit(self, scale: str) -> str:
        """Return what the numbers are."""
        return "slope" if scale == LOG else "slope per log(n)"

    def texts(self, record: Record) -> list[str]:
        """Return what the perturbation changes, in the recipe and in test error."""
        name, levels = record["perturbation"], record["error_levels"]
        if name == BASELINE:
            return []
        change = recipe_change(record["baseline"], record["recipe"], arrow="→")
        return [
            f"{name}: {change}.",
            f"Test error {levels[BASELINE]:.3f} → {levels[name]:.3f} at n = {_middle(record)}.",
        ]


def _middle(record: Record) -> int:
    middle: int = round((record["sizes"][0] * record["sizes"][-1]) ** 0.5)
    return middle


def _optional(estimate: dict[str, float] | None) -> str:
    return interval(estimate) if estimate else ""


def _undecided(verdict: Verdict, tolerances: Tolerances) -> Verdict:
    """Turn a verdict into an inconclusive one: the perturbation may not be admissible."""
    admissibility = verdict.admissibility
    assert admissibility is not None
    needs = [verdict.seeds_needed] if verdict.status == INCONCLUSIVE else []
    for change in (admissibility.slope_change, admissibility.level_change):
        if change is not None and compare_with_margin(change, tolerances.margin) == UNDECIDED:
            needs.append(_seeds_for_margin(change, tolerances.margin))
    return Verdict(
        verdict.check,
        INCONCLUSIVE,
        f"these seeds do not show whether {verdict.check.perturbation} is a small change: "
        f"{admissibility.reason}",
        verdict.evidence,
        admissibility,
        statistics.most_seeds(needs),
    )


def _seeds_for_margin(change: Estimate, margin: float) -> int | None:
    return statistics.seeds_needed(
        change.seeds,
        lambda seeds: compare_with_margin(change.with_seeds(seeds), margin) != UNDECIDED,
    )


class Grid(Section):
    """One row for each recipe, one column for each kind; the page has a grid of its own."""

    def lines(self, kinds: Sequence[Kind], records: Sequence[Record]) -> list[str]:
        """Return the grid, with the measure's slopes and test error's."""
        ids = [kind.id for kind in kinds]
        levels = {kind.id for kind in kinds if kind.looks_at == LEVEL}
        names = dict.fromkeys([BASELINE, *(record["perturbation"] for record in records)])
        header = row("", "measure's slope", "error's", *ids)
        return [header, *(self._recipe(name, records, ids, levels) for name in names)]

    def _recipe(
        self, name: str, judged: Sequence[Record], ids: Sequence[str], levels: set[str]
    ) -> str:
        side = BASELINE if name == BASELINE else "perturbed"
        own = [record for record in judged if record["perturbation"] == name]
        if own and own[0]["admissibility"] == INADMISSIBLE:
            return named_row(name, "not admissible", "", *(["-"] * len(ids)))
        slope = error = ""
        for record in judged if name == BASELINE else own:
            evidence = record["evidence"]
            if record["kind"] not in levels and side in evidence:
                slope, error = slope_cells(record, side)
        short = {record["kind"]: verdict_cell(record) for record in own}
        return named_row(name, slope, error, *(short.get(each, "") for each in ids))


def slope_cells(record: Record, side: str) -> tuple[str, str]:
    """Return the measure's slope with its interval, and test error's."""
    evidence = record["evidence"]
    slope = interval(evidence[side], record["scale"]) + bent_mark(record, side)
    return slope, f"{evidence[f'error_{side}']['mean']:+.2f}"


def row(*cells: str) -> str:
    """Return cells in columns; those that are left out at the end are empty."""
    text = "".join(f"{cell:<{width}}" for cell, width in zip(cells, COLUMNS, strict=False))
    return f"  {text}".rstrip()


def named_row(name: str, *cells: str) -> str:
    """Return a row; a name that is too long for its column has a line of its own."""
    if len(name) < COLUMNS[0]:
        return row(name, *cells)
    return "\n".join([*indented(name), row("", *cells)])


def verdict_cell(record: Record) -> str:
    """Return a verdict, with the seeds that it took where these were trained as needed."""
    if not record["looks"]:
        return SHORT[record["verdict"]]
    short = "open" if record["verdict"] == INCONCLUSIVE else SHORT[record["verdict"]]
    return f"{short} {len(record['seeds'])}"


GRID = Grid()
