"""What a store holds, for the terminal; 80 columns at most."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_fragility.store.inventory import Inventory, StoredRun


COLUMNS = (40, 10, 12, 14)
UNITS = ("bytes", "kB", "MB", "GB", "TB")
DAY = 86400.0
NO_TASK = "(unreadable)"


def inventory_table(folder: Path, inventory: Inventory) -> str:
    """Return a line per task, what audits of this installation can use, and leftovers."""
    lines = [f"{folder}: {_summed(inventory.runs)}"]
    if inventory.runs:
        lines += ["", _row("task", "runs", "size", "last used")]
        by_task: defaultdict[str, list[StoredRun]] = defaultdict(list)
        for run in inventory.runs:
            by_task[run.task or NO_TASK].append(run)
        lines += [_task_row(task, runs) for task, runs in sorted(by_task.items())]
    others = [run for run in inventory.runs if not run.is_current]
    notes = {
        "written by other versions of torch or of this package": others,
        "set aside as damaged": inventory.damaged,
        "left half written by processes that were killed": inventory.unfinished,
    }
    said = [f"  {what}: {_summed(runs)}" for what, runs in notes.items() if runs]
    return "\n".join([*lines, *([""] if said else []), *said])


def pruned_text(folder: Path, removed: Sequence[StoredRun]) -> str:
    """Return what pruning has removed."""
    return f"{folder}: removed {_summed(removed, 'file')}"


def size_text(count: int) -> str:
    """Return a number of bytes to three digits, in powers of 1000."""
    size, unit = float(count), 0
    while size >= 999.5 and unit < len(UNITS) - 1:
        size, unit = size / 1000, unit + 1
    return (
        f"{size:.0f} {UNITS[unit]}" if unit == 0 or size >= 99.95 else f"{size:.1f} {UNITS[unit]}"
    )


def _summed(runs: Sequence[StoredRun], noun: str = "run") -> str:
    plural = noun if len(runs) == 1 else f"{noun}s"
    return f"{len(runs):,} {plural}, {size_text(sum(run.size for run in runs))}"


def _task_row(task: str, runs: Sequence[StoredRun]) -> str:
    size = size_text(sum(run.size for run in runs))
    return _row(_shown(task), f"{len(runs):,}", size, _age(max(run.used for run in runs)))


def _row(first: str, *others: str) -> str:
    cells = "".join(f"{cell:>{width}}" for cell, width in zip(others, COLUMNS[1:], strict=True))
    return f"  {first:<{COLUMNS[0]}}{cells}"


def _shown(name: str) -> str:
    """Return a name from a file, which might hold anything, as it can be shown in a column."""
    shown = name if name.isprintable() else ascii(name)
    width = COLUMNS[0] - 1
    return shown if len(shown) <= width else shown[: width - 3] + "..."


def _age(used: float) -> str:
    days = int((time.time() - used) / DAY)
    return "today" if days < 1 else "1 day ago" if days == 1 else f"{days} days ago"
