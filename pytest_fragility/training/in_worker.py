"""Stacks that worker processes of this machine train."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence

import torch

from pytest_fragility.networks.runs import Run, TrainedRun
from pytest_fragility.networks.transport import Parcel, pack_runs
from pytest_fragility.parallel.local_processes import Worker
from pytest_fragility.training.devices import trainer_settings
from pytest_fragility.training.memory import train_within_memory
from pytest_fragility.training.trajectories import Trajectory

CPU = torch.device("cpu")


def train_by(worker: Worker, shard: Sequence[Sequence[Run]]) -> Iterator[list[TrainedRun]]:
    """Have a worker train the runs of each trajectory, yielding them as they finish.

    Raises
    ------
    WorkerLostError
        If the process ends before all of them have come back.
    Exception
        What the training raised.
    """
    for parcels in worker.perform(train_for_this_machine, pack_runs(shard)):
        yield [parcel.unpack(shard[i][j]) for parcel in parcels for i, j in [parcel.place]]


def train_for_this_machine(packed: bytes) -> Iterator[list[Parcel]]:
    """Train the runs of an order, yielding them as they finish; called in a worker process."""
    shard: list[list[Run]] = pickle.loads(packed)
    places = {id(run): (i, j) for i, runs in enumerate(shard) for j, run in enumerate(runs)}
    stack = [Trajectory(runs) for runs in shard]
    # as in the threads of the process that sends orders; no other work here wants it
    torch.set_flush_denormal(True)
    try:
        with trainer_settings(CPU):
            for finished in train_within_memory(stack, CPU):
                if finished:
                    yield [Parcel.pack(places[id(each.run)], each) for each in finished]
    finally:
        torch.set_flush_denormal(False)
