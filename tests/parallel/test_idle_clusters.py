"""Dask clusters that do nothing: no workers, a scheduler that dies, a worker that is stopped."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pytest_fragility import Factory, Recipe, audit, fixed_steps
from pytest_fragility.errors import SettingsError, TrainingError
from pytest_fragility.families.plan import FamilyPlan
from pytest_fragility.families.train import train_families
from pytest_fragility.parallel import dask_clusters, patience
from pytest_fragility.parallel import futures as executors
from pytest_fragility.parallel.dask_clusters import connect
from pytest_fragility.parallel.futures import Executors
from pytest_fragility.perturbations import BASELINE
from pytest_fragility.tasks import Task

distributed = pytest.importorskip("distributed")
needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="no SIGSTOP")

CPU = torch.device("cpu")
HERE = os.getpid()
# it reads what it is sent, for which it imports this package
SCHEDULER = """
import asyncio
from distributed import Scheduler
import pytest_fragility.parallel.worker_side, torch

async def serve():
    async with Scheduler(port=0, host="127.0.0.1", dashboard_address=":0") as scheduler:
        print(scheduler.address, flush=True)
        await scheduler.finished()

asyncio.run(serve())
"""
# with a second argument, it pauses where it uses that share of its memory
WORKER = """
import asyncio, sys
import dask
from distributed import Worker

if sys.argv[2:]:
    dask.config.set({"distributed.worker.memory.pause": float(sys.argv[2])})

async def serve():
    async with Worker(sys.argv[1], nthreads=1, dashboard=False, memory_limit="4GB") as worker:
        while sys.argv[2:] and worker.status.name != "paused":
            await asyncio.sleep(0.01)
        print("ready", flush=True)
        await worker.finished()

if __name__ == "__main__":
    asyncio.run(serve())
"""


@contextmanager
def process(code: str, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Yield a process and the first line that it says; kill it at the end."""
    with subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True
    ) as started:
        try:
            assert started.stdout
            yield started, started.stdout.readline().strip()
        finally:
            started.kill()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "SAID_AFTER", 0.1)
    monkeypatch.setattr(patience, "AGAIN", 0.3)
    monkeypatch.setattr(executors, "LOOK_EVERY", 0.1)
    monkeypatch.setattr("pytest_fragility.parallel.futures.LOOK_EVERY", 0.1)
    monkeypatch.setattr(dask_clusters, "SECONDS", 1)


def waiting(marker: str) -> Factory:
    """Return an architecture with which the first worker waits for its end."""

    def build(input_shape: Any, classes: int) -> nn.Module:
        if os.getpid() != HERE and not Path(marker).exists():
            Path(marker).touch()
            time.sleep(600)
        return nn.Linear(input_shape[0], classes)

    return Factory(build, name="waiting", version="idle")


def plan_of(task: Task, architecture: Any) -> FamilyPlan:
    """Return two networks."""
    recipe = Recipe(architecture=architecture, batch_size=8, stopping=fixed_steps(5))
    return FamilyPlan(task, {BASELINE: recipe}, (16,), (0, 1))


def once_there(marker: Path, act: Callable[[], None]) -> threading.Thread:
    """Do something when there is a file."""

    def wait() -> None:
        while not marker.exists():
            time.sleep(0.01)
        act()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def test_a_scheduler_without_workers(blobs: Task) -> None:
    """It is said, said again, and ends what is asked for; a worker that comes makes it go on."""
    said: list[str] = []
    with process(SCHEDULER) as (_, address):
        plan = plan_of(blobs, lambda_architecture())
        short = Executors(lambda: connect(address), limit=1.0, tell=said.append)
        with pytest.raises(TrainingError, match=rf"{address} has no workers: nothing was done"):
            train_families([plan], device=CPU, executors=short)
        assert len(said) >= 2
        assert all(f"the Dask scheduler at {address} has no workers" in text for text in said)
        # it ends at once from then on
        with pytest.raises(TrainingError, match="has no workers"):
            train_families([plan], device=CPU, executors=short)
        short.close()
        long = Executors(lambda: connect(address), limit=600, tell=said.append)
        said.clear()
        found: list[Any] = []
        thread = threading.Thread(
            target=lambda: found.extend(train_families([plan], device=CPU, executors=long))
        )
        thread.start()
        while not said:
            time.sleep(0.01)
        with process(WORKER, address):
            thread.join()
            long.close()
        assert len(found) == 1


def test_workers_that_are_paused(blobs: Task) -> None:
    """As Dask does where their memory is short: they give signs of life, and begin nothing."""
    with process(SCHEDULER) as (_, address), process(WORKER, address, "0.0001"):
        asked = Executors(lambda: connect(address), limit=1.0)
        with (
            pytest.warns(patience.IdleExecutorWarning, match=rf"{address} has no workers that beg"),
            pytest.raises(TrainingError, match=rf"{address} has no workers that begin anything"),
        ):
            train_families([plan_of(blobs, lambda_architecture())], device=CPU, executors=asked)
        asked.close()


def test_somebody_listens_who_is_no_scheduler() -> None:
    """Or one that is stopped: nobody waits for an answer for ever."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for address in (f"tcp://127.0.0.1:{silent.getsockname()[1]}", "tls://127.0.0.1:1"):
            with pytest.raises(SettingsError, match=rf"={address}: no Dask scheduler answers"):
                connect(address)


def lambda_architecture() -> Factory:
    """Return an architecture that waits for nothing."""
    return Factory(lambda input_shape, classes: nn.Linear(input_shape[0], classes), "plain", "idle")


@pytest.mark.parametrize("is_given", [False, True])
def test_a_scheduler_that_dies(blobs: Task, tmp_path: Path, is_given: bool) -> None:
    """While it has work: the address is named, and nobody waits for ever."""
    said: list[str] = []
    marker = tmp_path / "begun"
    with process(SCHEDULER) as (scheduler, address), process(WORKER, address):
        killer = once_there(marker, scheduler.kill)
        given: Any = connect(address) if is_given else lambda: connect(address)
        asked = Executors(given, limit=1.5, tell=said.append)
        with pytest.raises(TrainingError, match=rf"{address}"):
            train_families([plan_of(blobs, waiting(str(marker)))], device=CPU, executors=asked)
        killer.join()
        asked.close()
        if is_given:
            given.shutdown()
    assert said


@needs_signals
@pytest.mark.parametrize("victim", ["worker", "scheduler"])
def test_a_process_that_is_stopped(
    blobs: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, victim: str
) -> None:
    """Not ended: it gives no sign of life, which a long training does."""
    if victim == "worker":
        # on a busy machine a worker that is well may be silent for as long
        monkeypatch.setattr(dask_clusters, "SILENT", 1.5)
    marker = tmp_path / "begun"
    with process(SCHEDULER) as (scheduler, address), process(WORKER, address) as (worker, _):
        stopped = {"worker": worker, "scheduler": scheduler}[victim]
        stopper = once_there(marker, lambda: stopped.send_signal(signal.SIGSTOP))
        asked = Executors(lambda: connect(address), limit=2.5)
        text = "hears nothing of the workers" if victim == "worker" else "does not answer"
        with (
            pytest.warns(patience.IdleExecutorWarning, match=rf"{address} {text}"),
            pytest.raises(TrainingError, match=rf"{address} {text}"),
        ):
            train_families([plan_of(blobs, waiting(str(marker)))], device=CPU, executors=asked)
        stopper.join()
        asked.close()


def test_an_audit_has_the_limit(blobs: Task) -> None:
    """By its argument, of an executor that its caller made of a client."""
    with (
        process(SCHEDULER) as (_, address),
        distributed.Client(address, set_as_default=False) as client,
        pytest.warns(patience.IdleExecutorWarning, match="the audit waits, and ends after 0.5 s"),
        pytest.raises(TrainingError, match=rf"{address} has no workers"),
    ):
        audit(
            lambda network: 1.0,
            name="it",
            task=blobs,
            sizes=(16, 32),
            seeds=2,
            ladder="none",
            cache_dir=None,
            executor=client.get_executor(),
            executor_timeout=0.5,
        )


def test_the_limit_is_seconds() -> None:
    """More than none, and not endless."""
    cases: list[Any] = [0, -1, True, "soon", float("nan"), float("inf"), 1e300]
    for value in cases:
        with pytest.raises(
            SettingsError, match=r"executor_timeout=.*expected seconds, more than zero"
        ):
            audit(len, executor_timeout=value)
