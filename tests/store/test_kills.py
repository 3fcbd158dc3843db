"""Processes that are killed while they store runs: ``kill -9`` at random moments.

``PYTEST_FRAGILITY_KILLS=100 pytest tests/store/test_kills.py`` kills more of them.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest

from pytest_fragility.store import Store
from pytest_fragility.store.maintenance import verify
from tests import killed_training
from tests.killed_training import SIZES, train, train_in_process

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks, so that kills are many")

KILLS = int(os.environ.get("PYTEST_FRAGILITY_KILLS", "6"))


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """Processes that need not import torch, of which each takes seconds."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([killed_training.__name__])
    return context


def kill_at_random(process: BaseProcess, folder: Path, seed: int) -> None:
    """Kill a process: each second time anywhere, else in the midst of what it writes."""
    random = np.random.default_rng(seed)
    if seed % 2:
        time.sleep(random.uniform(0, 0.5))
    else:
        before = count_entries(folder)
        enough = before + random.integers(len(SIZES))
        while count_entries(folder) <= enough and process.is_alive():
            pass
        time.sleep(random.uniform(0, 0.003))
    process.kill()
    process.join()


def count_entries(folder: Path) -> int:
    """Return how many entries there are, whole or not."""
    return sum(1 for _ in folder.rglob("*.safetensors"))


def whole_entries(folder: Path) -> int:
    """Return how many entries there are; all must be whole."""
    found = list(verify(Store(folder)))
    assert [reason for _, reason in found if reason] == []
    return len(found)


def test_a_killed_process_leaves_whole_entries_alone(
    processes: ForkServerContext, tmp_path: Path
) -> None:
    """After each kill every entry is whole or absent, and the next process goes on from there."""
    folder = tmp_path / "kept"
    stored, partly = [0], 0
    for kill in range(KILLS):
        # each has one seed more to train than the one before
        process = processes.Process(target=train_in_process, args=(folder, kill + 1))
        process.start()
        kill_at_random(process, folder, kill)
        stored.append(whole_entries(folder))
        partly += 0 < stored[-1] < len(SIZES) * (kill + 1)
    assert stored == sorted(stored)
    assert partly
    print(f"{KILLS} kills, {partly} with some runs stored, {stored[-1]} entries, all whole")

    files = {path: path.stat().st_mtime_ns for path in folder.rglob("*.safetensors")}
    family = train(folder, KILLS + 1)
    assert len(family) == len(SIZES) * (KILLS + 1) == whole_entries(folder)
    assert {path: path.stat().st_mtime_ns for path in files} == files
