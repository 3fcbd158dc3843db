"""Whether a measure stays where it is when the function does: symmetries and equivalences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pytest_fragility.checks.check import Check, Needs
from pytest_fragility.checks.kind import PAIRS, Asked, Kind, Section
from pytest_fragility.checks.quantities import Quantity
from pytest_fragility.checks.tolerances import Tolerances
from pytest_fragility.checks.verdicts import (
    BROKEN,
    INCONCLUSIVE,
    KEPT,
    Evidence,
    Record,
    Verdict,
    worst,
)
from pytest_fragility.checks.wording import Table, remark
from pytest_fragility.curves.resources import DATA, NETWORKS, TRAINING
from pytest_fragility.errors import SettingsError
from pytest_fragility.recipes.equivalences import (
    EQUIVALENCES,
    NORMALIZATION_SCALE,
    SYMMETRY_NAMES,
)

if TYPE_CHECKING:
    from pytest_fragility.curves import Estimate, Invariance, LearningCurves

ROUNDING = 1e-6
NAME_COLUMN = 34
MOVED_COLUMN = 24
SHORT = {KEPT: "kept", BROKEN: "BROKEN", INCONCLUSIVE: "inconclusive"}


@dataclass(frozen=True)
class InvarianceEvidence(Evidence):
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


class SameFunction(Section):
    """One line for each change that leaves the function as it is."""

    title = "Where the function stays the same"

    def lines(self, kinds: Sequence[Kind], records: Sequence[Record]) -> list[str]:
        """Return by how much the measure moved under each change, and the verdict."""
        lines = ["  where the function stays the same:"]
        for record in records:
            moved = how_it_moved(record) if record["evidence"] else ""
            verdict = SHORT[record["verdict"]] if record["applicable"] else "-"
            name = f"  {record['check']:<{NAME_COLUMN}}"
            lines.append(f"{name}{moved:<{MOVED_COLUMN}}{verdict}".rstrip())
        return lines

    def changes(self, records: Sequence[Record]) -> list[tuple[Record, str, str]]:
        """Return for the page: each check, what was changed, and by how much the value moved."""
        return [
            (
                record,
                record["evidence"].get("summary", ""),
                how_it_moved(record) if record["evidence"] else "",
            )
            for record in records
        ]


class InvarianceKind(Kind):
    """The measure has the same value on networks with the same function."""

    rests_on = PAIRS
    on_linear = True
    options = ("invariance_tolerance",)
    section = SameFunction()
    names: tuple[str, ...] = ()
    sides = ("before", "after")

    def checks(self, asked: Asked) -> list[Check]:
        """Return one check of each change."""
        return [Check(self.id, change=name) for name in self.names]

    def judge(self, check: Check, curves: LearningCurves, tolerances: Tolerances) -> Verdict:
        """Return whether a measure has the same value on networks with the same function.

        A measure without randomness of its own is `kept` or `broken` by its numbers alone; of one
        that draws random numbers, the interval over its draws decides.

        Raises
        ------
        SettingsError
            If there are no such networks.
        """
        if check.id not in curves.invariances:
            raise SettingsError(
                f"{check.id}: these curves have no networks with the same function; ask for "
                f"checks={check.kind!r}"
            )
        return judge_invariance(check, curves.invariances[check.id], tolerances)

    def under(self, record: Record) -> str:
        """Return under which change."""
        return f" under {record['change']}"

    def quantities(self, record: Record) -> dict[str, Quantity]:
        """Return by how much the value moved."""
        change = record["evidence"].get("change")
        return {"change": Quantity.of(record, "value_change", change)} if change else {}

    def numbers(self, record: Record) -> list[str]:
        """Return the values on both sides, how far apart they are, and what is allowed."""
        evidence, (before, after) = record["evidence"], self.sides
        return [
            f"  {before:<6}  {evidence['before']:.6g}",
            f"  {after:<6}  {evidence['after']:.6g}",
            f"  change  {how_it_moved(record)}, allowed {_allowed_moves(record)}",
            *remark(f"({_where(record)})"),
        ]

    def certainty(self, record: Record) -> str:
        """Return why no statistics are needed, or which the measure's own randomness needs."""
        if not record["evidence"]:
            return self.place(record)
        where = f"{self.place(record)}; the two networks have the same function, to rounding"
        if record["evidence"]["draws"] == 1:
            return f"{where}, so that no statistics are needed"
        level = f"{100 * (1 - record['alpha']):.4g} %"
        return f"{where}; the measure draws random numbers, {level} intervals over draws"

    def table(self, record: Record) -> Table:
        """Return the same numbers."""
        evidence, (before, after) = record["evidence"], self.sides
        rows = [
            [before, f"{evidence['before']:.6g}"],
            [after, f"{evidence['after']:.6g}"],
            ["change", how_it_moved(record)],
            ["allowed", _allowed_moves(record)],
        ]
        return Table(["", "measure"], rows)

    def texts(self, record: Record) -> list[str]:
        """Return what was changed, and on which network the verdict rests."""
        return [f"{_where(record)}."]


class Symmetry(InvarianceKind):
    """One network, before and after a change of its weights."""

    id = asked_as = "symmetry"
    asserts = "the value stays where the function does"
    needs: ClassVar = {
        NETWORKS: "it changes networks, of which a table has only values",
        DATA: "it verifies changes on the networks' own samples, which are not known",
    }
    names = SYMMETRY_NAMES

    def networks(self, check: Check) -> Needs:
        """Return the baseline's; scale-invariant ones, too, for what needs a normalization."""
        return Needs(with_equivalents=check.change == NORMALIZATION_SCALE)


class Equivalence(InvarianceKind):
    """Two trainings that give the same function."""

    id = asked_as = "equivalence"
    asserts = "the value is the same for two trainings of one function"
    needs: ClassVar = {TRAINING: "it compares trainings that are made for it"}
    names = tuple(EQUIVALENCES)
    sides = ("first", "second")

    def networks(self, check: Check) -> Needs:
        """Return the baseline's, and the pairs of trainings."""
        return Needs(with_equivalents=True)


def judge_invariance(check: Check, invariance: Invariance | str, tolerances: Tolerances) -> Verdict:
    """Return the verdict on values before and after; or on a text that says why there are none."""
    if isinstance(invariance, str):
        return Verdict(check, INCONCLUSIVE, invariance, applies=False)
    changes, tolerance = invariance.changes, tolerances.invariance
    statuses = [_compare(change, tolerance) for change in changes]
    status = worst(statuses)
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
    if change.lies_within(tolerance):
        return KEPT
    return BROKEN if change.lies_beyond(tolerance) else INCONCLUSIVE


_REASONS = {
    KEPT: "the measure does not notice",
    BROKEN: "the network has the same function, and the measure another value",
    INCONCLUSIVE: "the measure's own randomness hides whether it notices",
}


def how_it_moved(record: Record) -> str:
    """Return by how much a measure moved, such as ``x 1.18`` or ``x 1.02 [0.97, 1.08]``."""
    evidence, is_log = record["evidence"], record["scale"] == "log"
    form = _factor if is_log else _percent
    mean, low, high = (form(evidence["change"][end]) for end in ("mean", "low", "high"))
    text = f"x {mean}" if is_log else mean
    return text if evidence["draws"] == 1 else f"{text} [{low}, {high}]"


def _where(record: Record) -> str:
    """Return what was changed, and on which network the verdict rests."""
    evidence = record["evidence"]
    draws = f", means of {evidence['draws']} draws" if evidence["draws"] > 1 else ""
    return f"{record['change']}: {evidence['summary']}; {evidence['network']}{draws}"


def _allowed_moves(record: Record) -> str:
    """Return how far a measure may move, such as ``x 0.955 to x 1.047``."""
    tolerance = record["evidence"]["tolerance"]
    if record["scale"] == "log":
        return f"x {_factor(-tolerance)} to x {_factor(tolerance)}"
    return f"{_percent(-tolerance)} to {_percent(tolerance)}"


def _factor(decades: float) -> str:
    if abs(decades) >= 100:
        return f"10^{decades:+.0f}"
    return f"{10**decades:.3f}" if abs(decades) < 1 else f"{10**decades:.3g}"


def _percent(change: float) -> str:
    # rounding is no change
    shown = 0.0 if abs(change) < ROUNDING else 100 * change
    return f"{shown:+.3g} %"


SYMMETRY, EQUIVALENCE = Symmetry(), Equivalence()
