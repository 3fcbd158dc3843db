"""What the benchmark has found: rows for JSON, and tables of ratios."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from tests.benchmarks.training_speed.cores import cores
from tests.benchmarks.training_speed.ways import ARITHMETIC, LOOP, PRODUCTS

# beside what pytest-benchmark keeps
FILE = Path(os.environ.get("TRAINING_SPEED_JSON", ".benchmarks/training_speed.json"))


@dataclass(frozen=True)
class Row:
    """One way's figure for one case and family.

    Parameters
    ----------
    case
        Recipe in words: architecture and batch size.
    way
        How the networks are trained, or which floor this is.
    networks
        The family's size.
    seconds_per_network
        Median over rounds.
    steps
        Optimizer steps that this is for.
    timed_networks, timed_steps
        How many were timed: fewer where a network's or a step's cost does not depend on how many
        there are. None where nothing was trained.
    detail
        Which of several forms of the way was the fastest.
    compile_seconds
        What compiling took, apart.
    """

    case: str
    way: str
    networks: int
    seconds_per_network: float
    steps: int
    timed_networks: int | None = None
    timed_steps: int | None = None
    detail: str = ""
    compile_seconds: float | None = None


def write_rows(rows: Sequence[Row]) -> Path:
    """Write all rows, and what they were measured on, as JSON."""
    FILE.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "machine": {
            "cores": cores(),
            "processor": platform.processor() or platform.machine(),
            "python": platform.python_version(),
            "torch": torch.__version__,
        },
        "rows": [asdict(row) for row in rows],
    }
    FILE.write_text(json.dumps(content, indent=1) + "\n")
    return FILE


def table(rows: Sequence[Row]) -> list[str]:
    """Return the lines of a table for one case and family, ratios included."""
    by_way = {row.way: row.seconds_per_network for row in rows}
    first = rows[0]
    lines = [
        f"{first.case}, {first.networks} networks, {first.steps} steps",
        f"  {'':49}{'ms/network':>11}{'x loop':>9}{'/ arithmetic':>14}{'/ products':>12}",
    ]
    for row in rows:
        seconds = row.seconds_per_network
        lines.append(
            f"  {row.way:49}{1000 * seconds:11.3f}{by_way[LOOP] / seconds:9.1f}"
            f"{seconds / by_way[ARITHMETIC]:14.2f}{seconds / by_way[PRODUCTS]:12.2f}"
            f"{_remarks(row)}"
        )
    return lines


def _remarks(row: Row) -> str:
    remarks = [row.detail] if row.detail else []
    if row.compile_seconds is not None:
        remarks.append(f"compiled in {row.compile_seconds:.1f} s, apart")
    if row.timed_networks and (row.timed_networks, row.timed_steps) != (row.networks, row.steps):
        remarks.append(f"timed on {row.timed_networks} networks, {row.timed_steps} steps")
    return f"   ({'; '.join(remarks)})" if remarks else ""
