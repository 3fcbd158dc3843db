"""What a worker process does: the work that it is sent, whose results it sends back.

Work is done in processes of their own, since threads of one interpreter hold each other up at every
small operation.
"""

from __future__ import annotations

import gc
import os
import pickle
import signal
import sys
from typing import Any, BinaryIO

import torch

from pytest_fragility.parallel.failures import Failure
from pytest_fragility.parallel.local_processes import Yielded
from pytest_fragility.parallel.pool import Work

Order = tuple[Work, tuple[Any, ...]]


def serve() -> None:
    """Do what comes in on standard input until it is closed."""
    # an interrupt is the parent's to deal with, which ends this process
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    orders, replies = sys.stdin.buffer, _own_output()
    # other cores have processes of their own
    torch.set_num_threads(1)
    while (order := _next_order(orders)) is not None:
        _perform(order, replies)
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


def _perform(order: Order, replies: BinaryIO) -> None:
    work, arguments = order
    try:
        for value in work(*arguments):
            _reply(Yielded(value), replies)
        _reply(None, replies)
    # sys.exit() of somebody's code is no end of this process
    except BaseException as error:
        _reply(Failure.of(error), replies)


def _reply(reply: Yielded | Failure | None, replies: BinaryIO) -> None:
    # whole or not at all: what cannot be pickled is a failure of the work
    replies.write(pickle.dumps(reply, protocol=pickle.HIGHEST_PROTOCOL))
    replies.flush()
