"""How many seeds, which level, which source: what a verdict rests on, in words."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_fragility.checks.verdicts import Record


def source_of(record: Record) -> str:
    """Return what an audit was read from, such as ``values from values.csv``, or the device."""
    return str(record.get("source") or record["device"])


def values_from(record: Record) -> str:
    """Return the same behind a comma, for the end of a sentence; nothing without a source."""
    return f", {record['source']}" if record.get("source") else ""


def file_of(record: Record) -> str:
    """Return where that stands, such as ``values.csv``."""
    return str(record["source"]).partition(" from ")[2]


def seeds_of(records: Sequence[Record]) -> str:
    """Return how many seeds an audit's verdicts rest on, such as ``3 to 13 seeds``."""
    counts = {len(record["seeds"]) for record in records}
    fewest, most = min(counts), max(counts)
    return f"{most} seeds" if fewest == most else f"{fewest} to {most} seeds"


def level_of(record: Record, over: str = "") -> str:
    """Return the level of a record's intervals, such as ``95 % intervals``."""
    level = f"{_percent(1 - record['alpha'])} intervals{over}"
    looks = record["looks"]
    if not looks:
        return level
    return f"{level} at each of {len(looks)} looks, which share {_percent(total_alpha(record))}"


def total_alpha(record: Record) -> float:
    """Return the chance to err of a check, over all looks at it."""
    alpha: float = record["alpha"] * max(1, len(record["looks"]))
    return alpha


def seeds_option(record: Record, needed: int) -> str:
    """Return the option that asks for so many seeds, or where they would have to be added."""
    if record.get("source"):
        return f"more of them in {file_of(record)}"
    return f"--fragility-seeds={'auto-' if record['looks'] else ''}{needed}"


def looks_note(records: Sequence[Record]) -> str:
    """Return what the numbers behind verdicts mean, and how far the looks went; or nothing."""
    looks = records[0]["looks"]
    if not looks:
        return ""
    *others, last = map(str, looks)
    numbers = f"{', '.join(others)} and {last}" if others else last
    return f"behind each verdict: the seeds that it took, of looks at {numbers}; open: inconclusive"


def _percent(share: float) -> str:
    return f"{100 * share:.4g} %"
