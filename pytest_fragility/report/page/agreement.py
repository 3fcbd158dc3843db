"""The agreement with test error as a table."""

from __future__ import annotations

from pytest_fragility.checks.records import Record
from pytest_fragility.report.agreement import _signed
from pytest_fragility.report.page.tables import Table


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
