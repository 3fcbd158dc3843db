"""From a list of runs to trained runs: which networks go into one stack."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cache, partial
from importlib import resources

import torch

from pytest_fragility.recipes import MLP
from pytest_fragility.runs import Run, TrainedRun
from pytest_fragility.training.devices import trainer_settings
from pytest_fragility.training.optimizers import optimizer_group
from pytest_fragility.training.shard import Shard
from pytest_fragility.training.workers import run_in_threads

SHARD_NETWORKS = 64

TRAINER_SOURCES = ("networks.py", "randomness.py", "tasks/strata.py", "training")


def train(runs: Sequence[Run], device: torch.device) -> Iterator[list[TrainedRun]]:
    """Train runs in batches, yielding them as they finish, in no particular order.

    Parameters
    ----------
    runs
        What to train, each once.
    device
        Where to train.

    Raises
    ------
    TaskError
        If a task's pool is smaller than a size asked for.
    """

    def start(shard: Sequence[Run], batch_size: int) -> Iterator[list[TrainedRun]]:
        # MKL keeps its number of threads for each thread apart
        torch.set_num_threads(1)
        yield from Shard(shard, batch_size, device).train()

    with trainer_settings() as cores:
        threads = cores if device.type == "cpu" else 1
        jobs = [partial(start, *shard) for shard in plan_shards(runs, threads=threads)]
        yield from run_in_threads(jobs, threads)


def plan_shards(
    runs: Sequence[Run], *, threads: int, limit: int = SHARD_NETWORKS
) -> list[tuple[list[Run], int]]:
    """Return stacks of at most `limit` runs that can be trained together, with their batch size.

    Runs of similar size, which take similar time, share a stack, the longest first; what would
    fill one stack is dealt out to `threads` of them, so that all threads end at the same time.
    Within a stack, runs that the same optimizer updates stand together.
    """
    alike: defaultdict[tuple[MLP, tuple[int, ...], int, int], list[Run]] = defaultdict(list)
    for run in runs:
        batch_size = min(run.recipe.batch_size, run.n)
        data = run.task.data
        alike[run.recipe.architecture, data.input_shape, data.classes, batch_size].append(run)
    shards = []
    for (*_, batch_size), members in alike.items():
        members.sort(key=lambda run: -run.n)
        for begin in range(0, len(members), limit * threads):
            band = members[begin : begin + limit * threads]
            for deal in range(min(threads, len(band))):
                shard = sorted(band[deal::threads], key=_place_in_shard)
                shards.append((shard, batch_size))
    shards.sort(key=lambda shard: -max(run.n for run in shard[0]))
    return shards


def _place_in_shard(run: Run) -> tuple[str, int]:
    return repr(optimizer_group(run.recipe.optimizer)), -run.n


@cache
def trainer_version() -> str:
    """Return a digest of the trainer's own source: a change of it makes stored runs stale."""
    digest = hashlib.sha256()
    package = resources.files("pytest_fragility")
    for name in TRAINER_SOURCES:
        entry = package / name
        files = [entry] if entry.is_file() else sorted(entry.iterdir(), key=lambda file: file.name)
        for file in files:
            if file.name.endswith(".py"):
                digest.update(file.read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()


def training_environment(device: torch.device) -> dict[str, str]:
    """Return what besides a run's identity decides its result: part of its key in the store."""
    return {
        "device": device.type,
        "torch": torch.__version__,
        "trainer": trainer_version(),
    }
