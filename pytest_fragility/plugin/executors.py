"""Who trains and measures for a session, until its end."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from pytest_fragility.plugin.command_line import dask_address

if TYPE_CHECKING:
    from pytest_fragility.parallel.futures import Executors


def require_dask_for(config: pytest.Config) -> None:
    """Raise a SettingsError where the options name a Dask cluster and Dask is not installed."""
    address = dask_address(config)
    if address:
        from pytest_fragility.parallel.dask_clusters import require_dask

        require_dask(address)


def session_executors(config: pytest.Config, limit: float) -> Executors:
    """Return what asks the option's cluster or the project's hook, once it is needed."""
    from pytest_fragility.parallel.futures import Executors

    address = dask_address(config)
    source: Any = partial(config.hook.pytest_fragility_executor, config=config)
    if address:
        from pytest_fragility.parallel.dask_clusters import connect

        source = partial(connect, address)
    executors = Executors(source, limit=limit, tell=_teller(config))
    config.pluginmanager.register(_End(executors), "fragility-executors")
    return executors


def _teller(config: pytest.Config) -> Callable[[str], None]:
    """Return what shows a line at once; where there is no terminal, it is a warning."""
    from pytest_fragility.parallel.patience import warn
    from pytest_fragility.plugin.progress import shown_at_once

    show = shown_at_once(config)
    return warn if show is None else lambda text: show(f"fragility: {text}\n")


class _End:
    """Shuts executors down before the session's other hooks close what they rest on."""

    def __init__(self, executors: Executors) -> None:
        self._executors = executors

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Shut them down."""
        self._executors.close()
