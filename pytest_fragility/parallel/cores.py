"""What one of several processes takes of the machine, where all of them train and measure."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from threadpoolctl import ThreadpoolController


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


@contextmanager
def own_cores() -> Iterator[None]:
    """Keep torch, NumPy and SciPy to the cores that are this process's share.

    Nothing changes where one process has the machine; what was set is restored.
    """
    threads = torch.get_num_threads()
    cores = own_share().cores(threads)
    if own_share().processes == 1:
        yield
        return
    with thread_libraries().limit(limits=_limits(cores)):
        torch.set_num_threads(cores)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


@cache
def thread_libraries() -> ThreadpoolController:
    """Return what knows the threads of NumPy's and SciPy's products; finding them takes a while."""
    import scipy.linalg  # noqa: F401

    return ThreadpoolController()


def _limits(cores: int) -> dict[str, int]:
    """Return the number of threads of each library of products, where it has more than `cores`."""
    limits = {}
    for library in thread_libraries().info():
        if library["user_api"] == "blas" and library["num_threads"] > cores:
            limits[library["prefix"]] = cores
    return limits
