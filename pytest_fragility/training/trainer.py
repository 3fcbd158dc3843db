"""From a list of runs to trained runs: which networks go into one stack."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from functools import cache

import torch

from pytest_fragility.errors import FragilityWarning, printable
from pytest_fragility.networks import build_network
from pytest_fragility.networks.runs import Run, TrainedRun
from pytest_fragility.parallel.futures import Executors
from pytest_fragility.parallel.pickling import reason_not_to_dump
from pytest_fragility.recipes import Factory, StoppingRule
from pytest_fragility.training.cuda_streams import IN_FLIGHT
from pytest_fragility.training.devices import trainer_settings
from pytest_fragility.training.distribution import train_stacks
from pytest_fragility.training.memory import largest_stack, training_bytes
from pytest_fragility.training.stacked_forms import (
    ONE_AT_A_TIME,
    OneAtATimeWarning,
    SlowerFormWarning,
    StackedForm,
    stacked_form,
)
from pytest_fragility.training.stacked_optimizers import adds_alone, optimizer_group
from pytest_fragility.training.trajectories import Trajectory
from pytest_fragility.training.version import trainer_version

# a stack of half as many takes nearly as long for each step
FEW_NETWORKS = 16


class InOneProcessWarning(FragilityWarning):
    """An architecture's function cannot be sent to other processes; all trainings share one."""


def train(
    runs: Sequence[Run], device: torch.device, executors: Executors | None = None
) -> Iterator[list[TrainedRun]]:
    """Train runs in batches, yielding them as they finish, in no particular order.

    On the CPU as many stacks are trained at a time as torch may use threads, each in a process of
    its own; where there is an executor, its workers train all of them.

    Parameters
    ----------
    runs
        What to train, each once.
    device
        Where to train.
    executors
        Who else may train; None trains on this machine.

    Raises
    ------
    TaskError
        If a task's pool is smaller than a size asked for.
    TrainingError
        If an architecture's network fails on its data, or there is too little memory for it.

    Warns
    -----
    OneAtATimeWarning
        Where networks of some architecture cannot be trained together; it names the module.
    SlowerFormWarning
        Where they can, but in a slower form than what they look like; it names the module.
    InOneProcessWarning
        Where an architecture's function cannot be sent to other processes.
    LostWorkerWarning
        Where a worker has ended early.
    """
    with trainer_settings(device) as cores:
        # one of each kind says what goes for all
        kinds = list({_what_a_shard_shares(run): run for run in runs}.values())
        _warn_of_slow_architectures(kinds)
        pool = executors if executors and executors.open() else None
        can_be_sent = bool(pool or device.type == "cpu") and _can_be_sent(runs)
        # one process after the other has a device to itself
        processes = cores if device.type == "cpu" and can_be_sent else 1
        trajectories = find_trajectories(runs)
        if pool and can_be_sent:
            shards = plan_shards(trajectories, device, processes=pool.workers)
            yield from train_stacks(shards, device, executors=pool, processes=processes)
        else:
            in_flight = _in_flight(kinds, device)
            shards = plan_shards(trajectories, device, processes=processes, in_flight=in_flight)
            yield from train_stacks(shards, device, processes=processes, in_flight=in_flight)


def _warn_of_slow_architectures(runs: Sequence[Run]) -> None:
    """Say which networks are trained in a slower form than was tried first, and why."""
    for run in runs:
        form = _form_of(run)
        if not form.reason:
            continue
        is_alone = form.kind == ONE_AT_A_TIME
        warnings.warn(
            f"networks with the architecture {run.recipe.architecture} are trained "
            f"{'one at a time' if is_alone else 'by torch.func.vmap'}, which takes longer, since "
            f"{printable(form.reason)}",
            OneAtATimeWarning if is_alone else SlowerFormWarning,
            stacklevel=3,
        )


def _can_be_sent(runs: Sequence[Run]) -> bool:
    architectures = {run.recipe.architecture for run in runs}
    for factory in (each for each in architectures if isinstance(each, Factory)):
        reason = reason_not_to_dump(factory.build)
        if reason:
            warnings.warn(
                f"the function of the architecture {factory} cannot be sent to other processes, so "
                f"that all trainings share this one: {printable(reason)}",
                InOneProcessWarning,
                stacklevel=3,
            )
            return False
    return True


def _in_flight(runs: Sequence[Run], device: torch.device) -> int:
    """Return how many stacks this process trains at once."""
    if device.type != "cuda":
        return 1
    # what is passed through alone takes its random numbers from torch's global generators
    is_alone = any(_form_of(run).kind == ONE_AT_A_TIME for run in runs)
    return 1 if is_alone else IN_FLIGHT


def _form_of(run: Run) -> StackedForm:
    return stacked_form(run.recipe, run.task.data)


def find_trajectories(runs: Sequence[Run]) -> list[Trajectory]:
    """Return the trainings to make: one for all runs that differ in their stopping rule alone."""
    alike: defaultdict[Hashable, list[Run]] = defaultdict(list)
    whole_course = cache(lambda recipe: recipe.replace(stopping=StoppingRule()))
    for run in runs:
        course = whole_course(run.recipe)
        alike[run.task.data.fingerprint, run.n, run.seed, course].append(run)
    return [Trajectory(members) for members in alike.values()]


def plan_shards(
    trajectories: Sequence[Trajectory],
    device: torch.device,
    *,
    processes: int,
    in_flight: int = 1,
    limit: int | None = None,
) -> list[list[Trajectory]]:
    """Return stacks of networks that can be trained together.

    Networks with samples of similar number, which take similar time, share a stack, the longest
    first; what would fill one stack is dealt out to `processes` of them, so that all end at the
    same time, but where so few would gain nothing from it. Within a stack, networks that the same
    optimizer updates stand together.

    Parameters
    ----------
    trajectories
        What to train.
    device
        Where; its memory limits the stacks.
    processes
        How many stacks are trained at a time, each in a process of its own.
    in_flight
        How many stacks each of them has on a CUDA device, whose memory they share.
    limit
        Networks of one stack at most; None takes as many as memory allows.
    """
    alike: defaultdict[Hashable, list[Trajectory]] = defaultdict(list)
    for trajectory in trajectories:
        alike[_what_a_shard_shares(trajectory.first)].append(trajectory)
    shards = []
    groups: dict[Hashable, int] = {}

    def place_in_shard(trajectory: Trajectory) -> tuple[bool, int, int]:
        recipe = trajectory.first.recipe
        group = groups.setdefault(optimizer_group(recipe), len(groups))
        # updates that read gradients stand together, where they share a sink
        return adds_alone(recipe), group, -trajectory.first.n

    for members in alike.values():
        members.sort(key=lambda trajectory: -trajectory.first.n)
        most = limit or _largest_stack_of(members[0].first, device, in_flight)
        for begin in range(0, len(members), most * processes):
            band = members[begin : begin + most * processes]
            parts = max(-(-len(band) // most), min(processes, -(-len(band) // FEW_NETWORKS)))
            for deal in range(parts):
                shards.append(sorted(band[deal::parts], key=place_in_shard))
    shards.sort(key=lambda shard: -max(trajectory.first.n for trajectory in shard))
    return shards


def _largest_stack_of(run: Run, device: torch.device, in_flight: int) -> int:
    recipe, data = run.recipe, run.task.data
    network = build_network(recipe.architecture, data.input_shape, data.classes)
    dtype = getattr(torch, recipe.precision)
    network_bytes = training_bytes(
        parameter_bytes=sum(each.numel() for each in network.parameters()) * dtype.itemsize,
        sample_bytes=_form_of(run).sample_bytes,
        batch_size=min(recipe.batch_size, run.n),
    )
    return largest_stack(network_bytes, device, in_flight=in_flight)


def _what_a_shard_shares(run: Run) -> Hashable:
    recipe, data = run.recipe, run.task.data
    return (
        recipe.architecture,
        recipe.precision,
        recipe.label_smoothing,
        min(recipe.batch_size, run.n),
        data.input_shape,
        data.classes,
        # networks are tried on their own task
        _form_of(run).kind,
    )


def training_environment(device: torch.device) -> dict[str, str]:
    """Return what besides a run's identity decides its result: part of its key in the store."""
    return {
        "device": device.type,
        "torch": torch.__version__,
        "trainer": trainer_version(),
    }
