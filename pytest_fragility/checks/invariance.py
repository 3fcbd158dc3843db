"""Whether a measure stays where it is when the function does: symmetries and equivalences."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_fragility.checks.check import EQUIVALENCE, Check
from pytest_fragility.checks.tolerances import Tolerances
from pytest_fragility.checks.verdicts import BROKEN, INCONCLUSIVE, KEPT, Record, Verdict

if TYPE_CHECKING:
    from pytest_fragility.curves import Estimate, Invariance


def judge_invariance(check: Check, invariance: Invariance | str, tolerances: Tolerances) -> Verdict:
    """Return whether a measure has the same value on networks with the same function.

    A measure without randomness of its own is `kept` or `broken` by its numbers alone; of one that
    draws random numbers, the interval over its draws decides.

    Parameters
    ----------
    check
        Of a symmetry or an equivalence.
    invariance
        The values before and after; a text that says why there are none, so that the check does
        not apply.
    tolerances
        Give how far a value may move.
    """
    if isinstance(invariance, str):
        return Verdict(check, INCONCLUSIVE, invariance, applies=False)
    changes, tolerance = invariance.changes, tolerances.invariance
    statuses = [_compare(change, tolerance) for change in changes]
    status = next(s for s in (BROKEN, INCONCLUSIVE, KEPT) if s in statuses)
    place = (
        invariance.largest
        if status == KEPT
        else max(
            (i for i, each in enumerate(statuses) if each == status),
            key=lambda i: abs(changes[i].mean),
        )
    )
    evidence = InvarianceEvidence(
        invariance.summary,
        invariance.networks[place],
        float(invariance.before[place].mean()),
        float(invariance.after[place].mean()),
        changes[place],
        tolerance,
        invariance.before.shape[1],
    )
    return Verdict(check, status, _REASONS[status], evidence)


def _compare(change: Estimate, tolerance: float) -> str:
    if -tolerance <= change.low and change.high <= tolerance:
        return KEPT
    if change.low > tolerance or change.high < -tolerance:
        return BROKEN
    return INCONCLUSIVE


_REASONS = {
    KEPT: "the measure does not notice",
    BROKEN: "the network has the same function, and the measure another value",
    INCONCLUSIVE: "the measure's own randomness hides whether it notices",
}
WIDTH = 78
ROUNDING = 1e-6
NAME_COLUMN = 34
MOVED_COLUMN = 24
SHORT = {KEPT: "kept", BROKEN: "BROKEN", INCONCLUSIVE: "inconclusive"}


def invariance_lines(records: Sequence[Record]) -> list[str]:
    """Return the table's part about networks with the same function: one line for each change."""
    lines = ["  where the function stays the same:"]
    for record in records:
        moved = how_it_moved(record) if record["evidence"] else ""
        verdict = SHORT[record["verdict"]] if record["applicable"] else "-"
        lines.append(f"  {record['check']:<{NAME_COLUMN}}{moved:<{MOVED_COLUMN}}{verdict}".rstrip())
    return lines


def how_it_moved(record: Record) -> str:
    """Return by how much a measure moved, such as ``x 1.18`` or ``x 1.02 [0.97, 1.08]``."""
    change = record["evidence"]["change"]
    ends = [change["mean"], change["low"], change["high"]]
    if record["scale"] == "log":
        mean, low, high = (_factor(each) for each in ends)
        return f"x {mean}" if record["evidence"]["draws"] == 1 else f"x {mean} [{low}, {high}]"
    mean, low, high = (_percent(each) for each in ends)
    return mean if record["evidence"]["draws"] == 1 else f"{mean} [{low}, {high}]"


def value_lines(record: Record) -> list[str]:
    """Return the values before and after, how far apart they are, and what is allowed."""
    evidence = record["evidence"]
    draws = f", means of {evidence['draws']} draws" if evidence["draws"] > 1 else ""
    is_pair = record["kind"] == EQUIVALENCE
    before, after = ("first", "second") if is_pair else ("before", "after")
    return [
        f"  {before:<6}  {evidence['before']:.6g}",
        f"  {after:<6}  {evidence['after']:.6g}",
        f"  change  {how_it_moved(record)}, allowed {allowed_moves(record)}",
        *_indented(f"({record['change']}: {evidence['summary']}; {evidence['network']}{draws})"),
    ]


def allowed_moves(record: Record) -> str:
    """Return how far a measure may move, such as ``x 0.955 to x 1.047``."""
    tolerance = record["evidence"]["tolerance"]
    form = _allowed_factor if record["scale"] == "log" else _percent
    return f"{form(-tolerance)} to {form(tolerance)}"


def _allowed_factor(decades: float) -> str:
    return f"x {_factor(decades)}"


def _factor(decades: float) -> str:
    if abs(decades) >= 100:
        return f"10^{decades:+.0f}"
    return f"{10**decades:.3f}" if abs(decades) < 1 else f"{10**decades:.3g}"


def _percent(change: float) -> str:
    # rounding is no change
    shown = 0.0 if abs(change) < ROUNDING else 100 * change
    return f"{shown:+.3g} %"


def _indented(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="  ")


@dataclass(frozen=True)
class InvarianceEvidence:
    """What a verdict on networks with the same function rests on.

    Parameters
    ----------
    summary
        What was changed.
    network
        The network on which the verdict rests: where the measure moved the farthest.
    before, after
        The measure's values; means over draws.
    change
        In decades, or relative on a linear scale; a point where the measure draws no random
        numbers, else with its interval over draws.
    tolerance
        How large the change may be.
    draws
        How often the measure was asked.
    """

    summary: str
    network: str
    before: float
    after: float
    change: Estimate
    tolerance: float
    draws: int

    def to_dict(self) -> dict[str, Any]:
        """Return the evidence as plain JSON types."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**values, "change": self.change.to_dict()}
