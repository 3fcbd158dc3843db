"""Time and memory of a training of many runs, each size in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import torch

from pytest_fragility.training.trainer import train
from tests.benchmarks.training_speed.cases import CASES
from tests.benchmarks.training_speed.cores import cores

PROCESS = Path("/proc/self")


class Cost(NamedTuple):
    """What a training of all runs took.

    Parameters
    ----------
    seconds
        Wall time, imports left out.
    megabytes
        The process's peak resident memory.
    worker_megabytes
        The same of the largest worker.
    """

    seconds: float
    megabytes: float
    worker_megabytes: float


def cost_of(case: str, networks: int) -> Cost:
    """Train so many runs in a new process, keeping none of them, and return what it took."""
    code = (
        f"import sys; sys.path[:] = {sys.path!r}; "
        "from tests.benchmarks.training_speed.scaling import report; "
        f"report({case!r}, {networks})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True
    )
    return Cost(*json.loads(done.stdout))


def report(case: str, networks: int) -> None:
    """Print what the training of so many runs takes in this process."""
    torch.set_num_threads(cores())
    runs = CASES[case].runs(networks)
    begin = time.perf_counter()
    for _ in train(runs, torch.device("cpu")):
        pass
    seconds = time.perf_counter() - begin
    workers = [_peak_megabytes(Path("/proc") / child) for child in _children()]
    print(json.dumps([seconds, _peak_megabytes(PROCESS), max(workers, default=0.0)]))


def _children() -> list[str]:
    return [
        child
        for task in (PROCESS / "task").iterdir()
        for child in (task / "children").read_text().split()
    ]


def _peak_megabytes(process: Path) -> float:
    """Return the most resident memory; `resource` would count the parent's before the start."""
    lines = (process / "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
