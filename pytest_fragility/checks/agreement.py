"""The agreement of a measure with test error over the audited family, beside the verdicts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_fragility.checks.admissibility import judge_admissibility
from pytest_fragility.checks.check import Check
from pytest_fragility.checks.tolerances import Tolerances
from pytest_fragility.checks.verdicts import INADMISSIBLE, INCONCLUSIVE, KEPT, Record, Verdict
from pytest_fragility.checks.wording import Table, indented
from pytest_fragility.perturbations import BASELINE

if TYPE_CHECKING:
    from pytest_fragility.curves import LearningCurves


def report_agreement(check: Check, curves: LearningCurves, tolerances: Tolerances) -> Verdict:
    """Return rank correlations and sign errors; asserts nothing.

    Parameters
    ----------
    check
        Names the perturbations; inadmissible ones, of which nothing is audited, are left out.
    curves
        The measure's and test error's.
    tolerances
        Say what is admissible.
    """
    audited = [
        name
        for name in curves.judged(check.among)
        if judge_admissibility(curves, name, margin=tolerances.margin).status != INADMISSIBLE
    ]
    agreement = curves.agreement([BASELINE, *audited])
    if agreement is None:
        reason = "the recipes have no seed in common, over which they could be compared"
        return Verdict(check, INCONCLUSIVE, reason, applies=False)
    return Verdict(check, KEPT, "asserts nothing", agreement)


def agreement_lines(record: Record) -> list[str]:
    """Return the table's part about rank correlations and sign errors."""
    found = record["evidence"]
    parts = ", ".join(f"{axis} {_signed(tau)}" for axis, tau in found["granulated"].items())
    return [
        *indented(
            f"agreement with test error over {found['networks']} networks: Kendall's tau "
            f"{_signed(found['tau'])}, granulated {_signed(found['granulated_mean'])} ({parts})"
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


def _signed(value: float | None) -> str:
    return "undefined" if value is None else f"{round(value, 2) + 0.0:+.2f}"


def agreement_table(record: Record) -> Table:
    """Return rank correlations and sign errors, one row each."""
    found = record["evidence"]
    rows = [
        ["Kendall's tau", _signed(found["tau"]), f"over {found['networks']} networks"],
        ["granulated tau", _signed(found["granulated_mean"]), "mean of the next"],
        *(
            [f"granulated over {axis}", _signed(tau), f"networks that differ in {axis} alone"]
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
