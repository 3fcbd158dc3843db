"""From a list of runs to trained runs: which networks go into one stack."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from functools import cache
from importlib import resources

import torch

from pytest_fragility.recipes import StoppingRule
from pytest_fragility.runs import Run, TrainedRun
from pytest_fragility.training.crew import Crew
from pytest_fragility.training.devices import trainer_settings
from pytest_fragility.training.optimizers import optimizer_group
from pytest_fragility.training.trajectories import Trajectory

SHARD_NETWORKS = 64
# a stack of half as many takes nearly as long for each step
FEW_NETWORKS = 16

TRAINER_SOURCES = (
    "networks.py",
    "randomness.py",
    "recipes/schedules.py",
    "recipes/stopping.py",
    "tasks/strata.py",
    "training",
)


def train(runs: Sequence[Run], device: torch.device) -> Iterator[list[TrainedRun]]:
    """Train runs in batches, yielding them as they finish, in no particular order.

    On the CPU as many stacks are trained at a time as torch may use threads, each in a process of
    its own.

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
    with trainer_settings() as cores:
        # one process after the other has a device to itself
        processes = cores if device.type == "cpu" else 1
        shards = plan_shards(find_trajectories(runs), processes=processes)
        yield from Crew(shards, processes - 1, device).train()


def find_trajectories(runs: Sequence[Run]) -> list[Trajectory]:
    """Return the trainings to make: one for all runs that differ in their stopping rule alone."""
    alike: defaultdict[Hashable, list[Run]] = defaultdict(list)
    for run in runs:
        whole_course = run.recipe.replace(stopping=StoppingRule())
        alike[run.task.data.fingerprint, run.n, run.seed, whole_course].append(run)
    return [Trajectory(members) for members in alike.values()]


def plan_shards(
    trajectories: Sequence[Trajectory], *, processes: int, limit: int = SHARD_NETWORKS
) -> list[list[Trajectory]]:
    """Return stacks of at most `limit` networks that can be trained together.

    Networks with samples of similar number, which take similar time, share a stack, the longest
    first; what would fill one stack is dealt out to `processes` of them, so that all end at the
    same time, but where so few would gain nothing from it. Within a stack, networks that the same
    optimizer updates stand together.
    """
    alike: defaultdict[Hashable, list[Trajectory]] = defaultdict(list)
    for trajectory in trajectories:
        alike[_what_a_shard_shares(trajectory.first)].append(trajectory)
    shards = []
    for members in alike.values():
        members.sort(key=lambda trajectory: -trajectory.first.n)
        for begin in range(0, len(members), limit * processes):
            band = members[begin : begin + limit * processes]
            parts = max(-(-len(band) // limit), min(processes, -(-len(band) // FEW_NETWORKS)))
            for deal in range(parts):
                shards.append(sorted(band[deal::parts], key=_place_in_shard))
    shards.sort(key=lambda shard: -max(trajectory.first.n for trajectory in shard))
    return shards


def _what_a_shard_shares(run: Run) -> Hashable:
    recipe, data = run.recipe, run.task.data
    return (
        recipe.architecture,
        recipe.precision,
        recipe.label_smoothing,
        min(recipe.batch_size, run.n),
        data.input_shape,
        data.classes,
    )


def _place_in_shard(trajectory: Trajectory) -> tuple[str, int]:
    return repr(optimizer_group(trajectory.first.recipe)), -trajectory.first.n


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
