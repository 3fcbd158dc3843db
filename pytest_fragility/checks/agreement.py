"""The agreement of a measure with test error over the audited family, beside the verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pytest_fragility.checks.admissibility import judge_admissibility
from pytest_fragility.checks.check import Check
from pytest_fragility.checks.kind import NOTHING, Asked, Kind, Section
from pytest_fragility.checks.tolerances import Tolerances
from pytest_fragility.checks.verdicts import INADMISSIBLE, KEPT, Record, Verdict
from pytest_fragility.checks.wording import Table, indented, signed
from pytest_fragility.perturbations import BASELINE

if TYPE_CHECKING:
    from pytest_fragility.curves import LearningCurves


class AgreementSection(Section):
    """Rank correlations and sign errors, below the verdicts."""

    title = "Agreement with test error"
    note = "In the field's own terms, beside the verdicts: it asserts nothing."

    def shows(self, record: Record) -> bool:
        """Leave out what has no numbers."""
        return bool(record["evidence"])

    def lines(self, kinds: Sequence[Kind], records: Sequence[Record]) -> list[str]:
        """Return a sentence on ranks, and one on signs."""
        return [line for record in records for line in _lines(record["evidence"])]

    def tables(self, records: Sequence[Record]) -> list[Table]:
        """Return one row for each number."""
        return [_table(record["evidence"]) for record in records]


class AgreementKind(Kind):
    """How well the measure orders networks as test error does; asserts nothing."""

    id = "agreement"
    about = NOTHING
    section = AgreementSection()

    def plan(self, asked: Asked) -> list[Check]:
        """Return one check over the perturbations that others look at."""
        among = asked.perturbations if asked.with_perturbations else ()
        return [Check(self.id, among=among)] if asked.with_curves else []

    def judge_curves(self, check: Check, curves: LearningCurves, tolerances: Tolerances) -> Verdict:
        """Return rank correlations and sign errors over all recipes that can be audited."""
        agreement = curves.agreement(audited_recipes(check, curves, tolerances))
        if agreement is None:
            return self.inconclusive(check, NOTHING_IN_COMMON)
        return Verdict(check, KEPT, "asserts nothing", agreement)


NOTHING_IN_COMMON = "the recipes have no seed in common, over which they could be compared"


def audited_recipes(check: Check, curves: LearningCurves, tolerances: Tolerances) -> list[str]:
    """Return the baseline, and those of a check's perturbations that are no large changes."""
    margin = tolerances.margin
    statuses = {
        name: judge_admissibility(curves, name, margin=margin).status
        for name in curves.judged(check.among)
    }
    return [BASELINE, *(name for name, status in statuses.items() if status != INADMISSIBLE)]


def _lines(found: Record) -> list[str]:
    parts = ", ".join(f"{axis} {signed(tau)}" for axis, tau in found["granulated"].items())
    return [
        *indented(
            f"agreement with test error over {found['networks']} networks: Kendall's tau "
            f"{signed(found['tau'])}, granulated {signed(found['granulated_mean'])} ({parts})"
        ),
        *indented(_sign_errors(found["sign_errors"])),
    ]


def _sign_errors(found: Record | None) -> str:
    if found is None:
        return "sign error: no two trainings' test errors differ by more than chance may make them"
    return (
        f"sign error over {found['environments']} environments: mean {found['mean']:.2f}, median "
        f"{found['median']:.2f}, nine in ten below {found['ninetieth']:.2f}, largest "
        f"{found['largest']:.2f} ({found['worst']})"
    )


def _table(found: Record) -> Table:
    rows = [
        ["Kendall's tau", signed(found["tau"]), f"over {found['networks']} networks"],
        ["granulated tau", signed(found["granulated_mean"]), "mean of the next"],
        *(
            [f"granulated over {axis}", signed(tau), f"networks that differ in {axis} alone"]
            for axis, tau in found["granulated"].items()
        ),
    ]
    errors = found["sign_errors"]
    if errors is None:
        said = "no two trainings' test errors differ by more than chance may make them"
        return Table(["", "", ""], [*rows, ["sign error", "undefined", said]])
    return Table(
        ["", "", ""],
        [
            *rows,
            ["sign error, mean", f"{errors['mean']:.2f}", f"{errors['environments']} environments"],
            ["median", f"{errors['median']:.2f}", ""],
            ["nine in ten below", f"{errors['ninetieth']:.2f}", ""],
            ["largest", f"{errors['largest']:.2f}", errors["worst"]],
        ],
    )


KIND = AgreementKind()
