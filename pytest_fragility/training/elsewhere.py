"""Stacks that an executor's workers train, and what these do."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence

import torch

from pytest_fragility.networks.runs import TrainedRun
from pytest_fragility.networks.transport import Parcel, pack_runs
from pytest_fragility.parallel import Batch, Executors, Lost
from pytest_fragility.parallel.failures import Failure, LostWorkerWarning
from pytest_fragility.parallel.worker_side import load_sent
from pytest_fragility.training.devices import choose_device, trainer_settings
from pytest_fragility.training.distribution import Crew, Stack
from pytest_fragility.training.trajectories import Trajectory


def train_elsewhere(
    stacks: Sequence[Stack], device: torch.device, executors: Executors, *, processes: int
) -> Iterator[list[TrainedRun]]:
    """Train stacks by an executor's workers, yielding the runs of each as it is done.

    Parameters
    ----------
    stacks
        What is trained, in this order.
    device
        What kind of device the workers train on.
    executors
        Who has the workers; there is one.
    processes
        In how many processes of this machine that is trained which no executor does.

    Raises
    ------
    Exception
        What a training raised, with the worker's traceback as its cause.

    Warns
    -----
    LostWorkerWarning
        Where an executor has lost stacks, which others train.
    """
    shards = [[trajectory.pending for trajectory in stack] for stack in stacks]
    orders = {place: (pack_runs(shard), str(device)) for place, shard in enumerate(shards)}
    lost: dict[int, str] = {}
    batch = Batch(executors, train_for_executor, orders)
    try:
        for place, reply in batch:
            if isinstance(reply, Failure):
                reply.throw()
            elif isinstance(reply, Lost):
                lost[place] = reply.reason
            else:
                shard = shards[place]
                yield [parcel.unpack(shard[i][j]) for parcel in reply for i, j in [parcel.place]]
    finally:
        batch.cancel()
    if lost:
        warnings.warn(
            f"an executor has lost work ({next(iter(lost.values()))}); {len(lost)} of "
            f"{len(stacks)} stacks of networks are trained by this process",
            LostWorkerWarning,
            stacklevel=2,
        )
        yield from Crew([stacks[place] for place in sorted(lost)], processes - 1, device).train()


def train_for_executor(order: bytes, device_name: str) -> list[Parcel]:
    """Train the runs of an order; called in a worker, which is left as it was."""
    shard = load_sent(order)
    places = {id(run): (i, j) for i, runs in enumerate(shard) for j, run in enumerate(runs)}
    stack = [Trajectory(runs) for runs in shard]
    device = choose_device(device_name)
    with trainer_settings(device):
        # in a thread of its own, whose settings end with it
        batches = Crew([stack], 0, device).train()
        return [Parcel.pack(places[id(each.run)], each) for batch in batches for each in batch]
