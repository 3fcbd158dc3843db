"""A ladder of tasks in words: the measure's column beside test error's."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_fragility.checks.check import COMPLEXITY_EXPONENT
from pytest_fragility.checks.records import Record
from pytest_fragility.checks.verdicts import BROKEN, INCONCLUSIVE, KEPT
from pytest_fragility.checks.wording import indented, interval, sensitivity
from pytest_fragility.report.power_law import MARK

LINE = 80
COLUMN = 26
TASK_COLUMN = 29
SHORT = {KEPT: "kept", BROKEN: "BROKEN", INCONCLUSIVE: "inconclusive"}


def ladder_lines(records: Sequence[Record]) -> list[str]:
    """Return the table's part about a ladder: its tasks, then a verdict each on both kinds."""
    lines = indented(f"over the ladder {records[0]['ladder']}:")
    shown = [record for record in records if record["evidence"]]
    if shown:
        lines += rung_lines(shown[0])
    lines += [_verdict_line(record) for record in records]
    return [*lines, f"  {_ranks(shown[0]['evidence'])}"] if shown else lines


def rung_lines(record: Record) -> list[str]:
    """Return the tasks with test error and the measure in two columns; 80 columns at most."""
    rungs = record["evidence"]["rungs"]
    width = min(max(len(rung["task"]) for rung in rungs) + 2, TASK_COLUMN)
    header = _row("", width, "test error", record["measure"])
    lines = [header if len(header) <= LINE else _row("", width, "test error", "measure")]
    form = _power if record["kind"] == COMPLEXITY_EXPONENT else _level
    for rung in rungs:
        values = [
            form(rung[whose]) + (MARK if rung[f"{whose}_is_bent"] else "")
            for whose in ("error", "measure")
        ]
        if len(rung["task"]) < width:
            lines.append(_row(rung["task"], width, *values))
        else:
            lines += [f"  {rung['task']}", _row("", width, *values)]
    return lines


def _row(task: str, width: int, error: str, measure: str) -> str:
    return f"  {task:<{width}}{error:<{COLUMN}}{measure}".rstrip()


def sensitivity_lines(record: Record) -> list[str]:
    """Return both columns on one line, how far one follows the other, and what ranks say."""
    evidence = record["evidence"]
    low, high = evidence["allowed"]
    sign = "n^" if record["kind"] == COMPLEXITY_EXPONENT else "10^"
    error, measure = (
        " -> ".join(f"{sign}{rung[whose]['mean']:+.2f}" for rung in evidence["rungs"])
        for whose in ("error", "measure")
    )
    return [
        *indented(
            f"test error {error}, {record['measure']} {measure}: "
            f"sensitivity {sensitivity(evidence['sensitivity'])}",
            more="",
        ),
        *indented(f"(1 follows test error, 0 is blind; allowed {low:.2f} to {high:.2f})", more=""),
        *indented(
            f"{_ranks(evidence)} (1: the tasks' order is the same; -1: the opposite)", more=""
        ),
    ]


def _ranks(evidence: Record) -> str:
    agreement = evidence["rank_agreement"]["mean"]
    return f"ranks at n = {evidence['rank_size']} agree by {round(agreement, 2) + 0.0:+.2f}"


def _level(estimate: dict[str, float]) -> str:
    """Return a level in decades, such as ``10^-0.57 [-0.60, -0.55]``."""
    return f"10^{interval(estimate)}"


def _power(estimate: dict[str, float]) -> str:
    return f"n^{interval(estimate)}"


def _verdict_line(record: Record) -> str:
    what = "exponents" if record["kind"] == COMPLEXITY_EXPONENT else "levels"
    text = f"  {what + ':':<11}{SHORT[record['verdict']]}"
    if record["evidence"]:
        text += f", sensitivity {sensitivity(record['evidence']['sensitivity'])}"
    return f"{text}, {len(record['seeds'])} seeds" if record["looks"] else text
