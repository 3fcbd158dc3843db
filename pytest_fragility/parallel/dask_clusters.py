"""Executors of Dask clusters, by the address of their scheduler."""

from __future__ import annotations

import asyncio
import time
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from importlib import import_module, util
from typing import Any

from pytest_fragility._util.text import error_text
from pytest_fragility.errors import SettingsError

OPTION = "--fragility-dask"
# for an answer
SECONDS = 5
# without a sign of life; what computes gives one every few seconds
SILENT = 30.0


class NoSchedulerError(SettingsError):
    """No scheduler answers at an address.

    Parameters
    ----------
    message
        The text a person reads.
    """


class ClusterWatch:
    """Tells whether a cluster can do what it has been sent.

    Parameters
    ----------
    client
        A ``distributed.Client``.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._address = client.scheduler.address
        # by worker: its last sign of life, by its scheduler's clock, and when that was seen here
        self._signs: dict[str, tuple[float, float]] = {}

    @property
    def workers(self) -> int:
        """How many workers there are.

        Raises
        ------
        OSError
            If the scheduler does not answer.
        """
        return len(self._ask("identity")["workers"])

    @property
    def is_reconnecting(self) -> bool:
        """Whether the connection was lost, and is tried to be had again."""
        return bool(self._client.status == "connecting")

    @property
    def is_lost(self) -> bool:
        """Whether there is no connection any more."""
        return self._client.status in ("closing", "closed")

    def problem(self) -> str | None:
        """Return what keeps all of the work from being done, in words; None where nothing does."""
        here = f"the Dask scheduler at {self._address}"
        if self._client.status != "running":
            return f"{here} does not answer"
        try:
            found, busy = self._ask("identity"), self._ask("processing")
        # a connection that is lost raises much else besides
        except Exception as error:
            return f"{here} does not answer ({type(error).__name__})"
        workers = found["workers"]
        if not workers:
            return f"{here} has no workers"
        silent = self._silent(workers)
        if not any(map(_takes_work, workers.values())):
            return (
                f"{here} has no workers that begin anything: memory is short, or they are closing"
            )
        working = [name for name, keys in busy.items() if keys and name in workers]
        if silent.issuperset(workers) or (working and silent.issuperset(working)):
            names = ", ".join(sorted(silent.intersection(working) or silent)[:3])
            return f"{here} hears nothing of the workers that have the work ({names})"
        return None

    def _silent(self, workers: Mapping[str, Any]) -> set[str]:
        """Return the workers that have given no sign of life for long."""
        now = time.monotonic()
        for name, worker in workers.items():
            sign = worker["last_seen"]
            if name not in self._signs or self._signs[name][0] != sign:
                self._signs[name] = sign, now
        return {name for name in workers if now - self._signs[name][1] > SILENT}

    def _ask(self, what: str) -> Any:
        question = getattr(self._client.scheduler, what)
        return self._client.sync(question, callback_timeout=SECONDS)


def _takes_work(worker: Mapping[str, Any]) -> bool:
    """Return whether a worker begins what it is sent, or is doing something still."""
    counts = worker.get("metrics", {}).get("task_counts", {})
    return worker.get("status", "running") == "running" or bool(counts.get("executing"))


def watch_of(executor: Any) -> ClusterWatch | None:
    """Return what tells whether an executor's cluster works; None where it is not one of Dask's."""
    client = getattr(executor, "_client", None)
    is_connected = hasattr(client, "sync") and getattr(client, "scheduler", None) is not None
    return ClusterWatch(client) if is_connected else None


class DaskExecutor(Executor):
    """The executor of a client of its own, which ends with it.

    Parameters
    ----------
    client
        A ``distributed.Client``.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._executor: Executor = client.get_executor()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Have a function called by one of the cluster's workers."""
        return self._executor.submit(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Wait for what is being done, and leave the cluster as it is."""
        if self._client.status == "running":
            self._executor.shutdown(wait and not cancel_futures)
        self._client.close(timeout=SECONDS)


def require_dask(address: str) -> None:
    """Raise a SettingsError where Dask is not installed; it is not imported."""
    if util.find_spec("distributed") is None:
        raise SettingsError(
            f"{OPTION}={address}: Dask is not installed; pip install 'pytest-fragility[dask]'"
        )


async def _greet(address: str) -> None:
    """Have a scheduler say something."""
    dask: Any = import_module("distributed")
    how = dask.Security().get_connection_args("client")
    async with dask.rpc(address, connection_args=how) as scheduler:
        await scheduler.identity()


def connect(address: str) -> DaskExecutor:
    """Return the executor of the cluster whose scheduler has this address.

    Parameters
    ----------
    address
        Such as ``tcp://host:8786``.

    Raises
    ------
    NoSchedulerError
        If no scheduler answers.
    SettingsError
        If Dask is not installed.
    """
    require_dask(address)
    from distributed import Client
    from distributed.versions import VersionMismatchWarning

    try:
        # a client waits for ever where somebody listens and nobody answers
        with ThreadPoolExecutor(1) as pool:
            pool.submit(asyncio.run, asyncio.wait_for(_greet(address), SECONDS)).result()
        with warnings.catch_warnings():
            # what must be the same is compared by the workers themselves
            warnings.simplefilter("ignore", VersionMismatchWarning)
            connecting: Callable[..., Any] = Client
            client = connecting(address, timeout=SECONDS, set_as_default=False)
    # whatever else may listen there
    except Exception as error:
        raise NoSchedulerError(
            f"{OPTION}={address}: no Dask scheduler answers there within {SECONDS} s "
            f"({error_text(error).rstrip(': ')}); expected an address such as tcp://host:8786, "
            "which dask-scheduler shows when it starts"
        ) from None
    return DaskExecutor(client)
