"""How many cores the operations of torch, NumPy and SciPy use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch
from threadpoolctl import ThreadpoolController

from pytest_fragility.parallel.cores import own_share


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
