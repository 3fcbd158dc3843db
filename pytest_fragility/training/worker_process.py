"""What a worker process does: it trains the stacks that it is sent, and sends the runs back.

Trainings run in processes of their own, since threads of one interpreter hold each other up at
every small operation.
"""

from __future__ import annotations

import gc
import os
import pickle
import signal
import sys
from typing import BinaryIO

import torch

from pytest_fragility.executors.failures import Failure
from pytest_fragility.executors.parcels import Parcel
from pytest_fragility.runs import Run
from pytest_fragility.training.devices import trainer_settings
from pytest_fragility.training.memory import train_within_memory
from pytest_fragility.training.trajectories import Trajectory

Order = list[list[Run]]

CPU = torch.device("cpu")


def serve() -> None:
    """Train what comes in on standard input until it is closed."""
    # an interrupt is the parent's to deal with, which ends this process
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    orders, replies = sys.stdin.buffer, _own_output()
    torch.set_flush_denormal(True)
    with trainer_settings(CPU):
        while (order := _next_order(orders)) is not None:
            _train(order, replies)
    # somebody waits for the end of the process, which need not search it for garbage
    gc.freeze()


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
        _reply(Failure.of(error), replies)


def _reply(reply: list[Parcel] | Failure | None, replies: BinaryIO) -> None:
    pickle.dump(reply, replies, protocol=pickle.HIGHEST_PROTOCOL)
    replies.flush()
