"""Where the time went, for the terminal; 80 columns at most."""

from __future__ import annotations

from pytest_fragility._util.stopwatch import (
    MEASURES,
    REPORT,
    REST,
    STATISTICS,
    STORE,
    TRAINING,
    WAITING,
    Durations,
    Spent,
)
from pytest_fragility.checks.wording import counted, indented
from pytest_fragility.errors import harmless

SLOWEST = 10
NOTES = {
    TRAINING: "trained {networks}",
    MEASURES: "{values}",
    STATISTICS: "curves, intervals, verdicts",
    STORE: "read {networks}",
    WAITING: "for other processes that train",
    REPORT: "records, messages, tables",
    REST: "imports, data, the tests' own work",
}
# seconds: nobody was waited for where it took less
SHORTEST_WAIT = 0.01
PART_COLUMNS = (16, 9, 8, 4)
MEASURE_COLUMNS = (44, 9, 22)


def durations_table(durations: Durations, *, workers: int = 0, lost: int = 0) -> str:
    """Return seconds and shares of each part, and the slowest measures.

    Parameters
    ----------
    durations
        What each part took.
    workers
        How many processes' times these are, added up; 0 for this process's own.
    lost
        How many of the workers ended early, so that their times are missing.
    """
    found = {part: Spent() for part in NOTES} | durations.parts
    if found[WAITING].seconds < SHORTEST_WAIT:
        # no part of its own, and still a part of the whole
        found[REST] += found.pop(WAITING)
    lines = [_headline(durations.seconds, workers)]
    if lost:
        lines += indented(f"without {counted(lost, 'worker')} that ended early")
    lines.append(_row(PART_COLUMNS, "", "seconds", "share"))
    lines += [_part_row(part, found[part], durations.seconds) for part in NOTES if part in found]
    slowest = list(durations.measures.items())[:SLOWEST]
    if slowest:
        lines += ["", _row(MEASURE_COLUMNS, "slowest measures", "seconds", "seconds per network")]
        lines += [_measure_row(name, spent) for name, spent in slowest]
    return harmless("\n".join(lines))


def _headline(seconds: float, workers: int) -> str:
    if workers:
        return f"{seconds:.2f} worker seconds: {counted(workers, 'worker')}, added up"
    return f"{seconds:.2f} seconds in all"


def _part_row(part: str, spent: Spent, total: float) -> str:
    share = 100 * spent.seconds / total if total else 0.0
    networks, values = (counted(spent.networks, noun) for noun in ("network", "value"))
    note = NOTES[part].format(networks=networks, values=values)
    return _row(PART_COLUMNS, part, f"{spent.seconds:.2f}", f"{share:.1f} %") + f"    {note}"


def _measure_row(name: str, spent: Spent) -> str:
    each = f"{spent.seconds / spent.networks:.5f}" if spent.networks else "-"
    if len(name) < MEASURE_COLUMNS[0]:
        return _row(MEASURE_COLUMNS, name, f"{spent.seconds:.2f}", each)
    # one that is too long for its column has a line of its own
    return "\n".join([*indented(name), _row(MEASURE_COLUMNS, "", f"{spent.seconds:.2f}", each)])


def _row(columns: tuple[int, ...], first: str, *others: str) -> str:
    cells = "".join(f"{cell:>{width}}" for cell, width in zip(others, columns[1:], strict=False))
    return f"  {first:<{columns[0]}}{cells}"
