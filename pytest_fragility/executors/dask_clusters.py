"""Executors of Dask clusters, by the address of their scheduler."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from concurrent.futures import Executor, Future
from importlib import util
from typing import Any

from pytest_fragility.errors import SettingsError

OPTION = "--fragility-dask"
# for an answer
SECONDS = 5


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
        self._executor.shutdown(wait and not cancel_futures)
        self._client.close()


def require_dask(address: str) -> None:
    """Raise a SettingsError where Dask is not installed; it is not imported."""
    if util.find_spec("distributed") is None:
        raise SettingsError(
            f"{OPTION}={address}: Dask is not installed; pip install 'pytest-fragility[dask]'"
        )


def connect(address: str) -> DaskExecutor:
    """Return the executor of the cluster whose scheduler has this address.

    Parameters
    ----------
    address
        Such as ``tcp://host:8786``.

    Raises
    ------
    SettingsError
        If Dask is not installed, or no scheduler answers.
    """
    require_dask(address)
    from distributed import Client
    from distributed.versions import VersionMismatchWarning

    try:
        with warnings.catch_warnings():
            # what must be the same is compared by the workers themselves
            warnings.simplefilter("ignore", VersionMismatchWarning)
            connecting: Callable[..., Any] = Client
            client = connecting(address, timeout=SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"{OPTION}={address}: no Dask scheduler answers there within {SECONDS} s "
            f"({type(error).__name__}: {error}); expected an address such as tcp://host:8786, "
            "which dask-scheduler shows when it starts"
        ) from None
    return DaskExecutor(client)
