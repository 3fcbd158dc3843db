"""Who trains and measures for a session, until its end."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from pytest_fragility.plugin.options import dask_address

if TYPE_CHECKING:
    from pytest_fragility.executors import Executors


def require_dask_for(config: pytest.Config) -> None:
    """Raise a SettingsError where the options name a Dask cluster and Dask is not installed."""
    address = dask_address(config)
    if address:
        from pytest_fragility.executors.dask_clusters import require_dask

        require_dask(address)


def session_executors(config: pytest.Config) -> Executors:
    """Return what asks the option's cluster or the project's hook, once it is needed."""
    from pytest_fragility.executors import Executors

    address = dask_address(config)
    if address:
        from pytest_fragility.executors.dask_clusters import connect

        executors = Executors(partial(connect, address))
    else:
        executors = Executors(partial(config.hook.pytest_fragility_executor, config=config))
    config.pluginmanager.register(_End(executors), "fragility-executors")
    return executors


class _End:
    """Shuts executors down before the session's other hooks close what they rest on."""

    def __init__(self, executors: Executors) -> None:
        self._executors = executors

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Shut them down."""
        self._executors.close()
