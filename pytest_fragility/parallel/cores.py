"""What one of several processes takes of the machine, where all of them train and measure."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Share:
    """The share of one of several processes; one process alone has everything.

    Parameters
    ----------
    index
        Which of the processes it is, from 0; one that takes another's place has a number of its
        own.
    processes
        How many there are.
    folder
        Where they keep trained runs together for as long as they work, where nothing is to be kept
        for longer; None keeps nothing.
    """

    index: int = 0
    processes: int = 1
    folder: Path | None = None

    def cores(self, threads: int) -> int:
        """Return how many cores to measure on.

        Parameters
        ----------
        threads
            How many torch may use, which a user may have limited.
        """
        if self.processes == 1:
            return threads
        return min(threads, max(1, usable_cores() // self.processes))

    def device_index(self, devices: int) -> int:
        """Return which of several CUDA devices to take."""
        return self.index % devices


ALONE = Share()
_SHARE: ContextVar[Share] = ContextVar("share")


def own_share() -> Share:
    """Return this process's share."""
    return _SHARE.get(ALONE)


@contextmanager
def sharing(share: Share) -> Iterator[None]:
    """Have this process keep to its share until this ends."""
    token = _SHARE.set(share)
    try:
        yield
    finally:
        _SHARE.reset(token)


def usable_cores() -> int:
    """Return how many cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
