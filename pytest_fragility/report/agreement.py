"""The agreement of a measure with test error, in words."""

from __future__ import annotations

from pytest_fragility.checks.records import Record
from pytest_fragility.checks.wording import indented


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
