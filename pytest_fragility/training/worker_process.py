"""What a worker process does: it trains the stacks that it is sent, and sends the runs back.

Trainings run in processes of their own, since threads of one interpreter hold each other up at
every small operation.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import traceback
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import torch

from pytest_fragility.networks import NetworkState
from pytest_fragility.runs import Run, TrainedRun, TrainingRecord
from pytest_fragility.training.devices import trainer_settings
from pytest_fragility.training.memory import train_within_memory
from pytest_fragility.training.orders import Order
from pytest_fragility.training.trajectories import Trajectory

Arrays = dict[str, np.ndarray]
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Parcel:
    """A trained run on its way between processes.

    Parameters
    ----------
    place
        Which run of which trajectory it is.
    state, initial_state
        Weights and buffers, by name.
    record
        How the training went.
    mistaken
        Which test samples are classified unlike their label.
    """

    place: tuple[int, int]
    state: tuple[Arrays, Arrays]
    initial_state: tuple[Arrays, Arrays]
    record: TrainingRecord
    mistaken: np.ndarray

    @classmethod
    def pack(cls, place: tuple[int, int], trained: TrainedRun) -> Parcel:
        """Return the parcel of a run."""
        return cls(
            place,
            _as_arrays(trained.state),
            _as_arrays(trained.initial_state),
            trained.record,
            trained.mistaken.numpy(),
        )

    def unpack(self, run: Run) -> TrainedRun:
        """Return the trained run; `run` is what was asked."""
        return TrainedRun(
            run,
            _as_tensors(*self.state),
            _as_tensors(*self.initial_state),
            self.record,
            torch.from_numpy(self.mistaken),
        )


@dataclass(frozen=True)
class Failure:
    """An exception on its way between processes, with the traceback that it had."""

    error: Exception
    traceback: str


class WorkerTraceback(Exception):
    """The traceback of an exception in a worker process; shown as its cause."""


def serve() -> None:
    """Train what comes in on standard input until it is closed."""
    # an interrupt is the parent's to deal with, which ends this process
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    orders, replies = sys.stdin.buffer, _own_output()
    torch.set_flush_denormal(True)
    with trainer_settings(CPU):
        while (order := _next_order(orders)) is not None:
            _train(order, replies)


def _own_output() -> BinaryIO:
    """Return standard output; what else is printed goes to standard error from now on."""
    own = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return own


def _next_order(orders: BinaryIO) -> Order | None:
    try:
        order: Order = pickle.load(orders)
    except EOFError:
        return None
    return order


def _train(order: Order, replies: BinaryIO) -> None:
    places = {id(run): (i, j) for i, runs in enumerate(order) for j, run in enumerate(runs)}
    try:
        stack = [Trajectory(runs) for runs in order]
        for finished in train_within_memory(stack, CPU):
            if finished:
                _reply([Parcel.pack(places[id(each.run)], each) for each in finished], replies)
        _reply(None, replies)
    except Exception as error:
        _reply(Failure(error, traceback.format_exc()), replies)


def _reply(reply: list[Parcel] | Failure | None, replies: BinaryIO) -> None:
    pickle.dump(reply, replies, protocol=pickle.HIGHEST_PROTOCOL)
    replies.flush()


def _as_arrays(state: NetworkState) -> tuple[Arrays, Arrays]:
    weights, buffers = (
        {name: tensor.numpy() for name, tensor in part.items()}
        for part in (state.weights, state.buffers)
    )
    return weights, buffers


def _as_tensors(*parts: Arrays) -> NetworkState:
    weights, buffers = (
        # what has no dimension comes as a scalar
        {name: torch.from_numpy(np.asarray(array)) for name, array in part.items()}
        for part in parts
    )
    return NetworkState(weights, buffers)
