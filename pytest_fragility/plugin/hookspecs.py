"""What a project's ``conftest.py`` can tell the plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from concurrent.futures import Executor


@pytest.hookspec(firstresult=True)
def pytest_fragility_executor(config: pytest.Config) -> Executor | None:
    """Return who trains and measures in the place of this machine; None has all done here.

    Asked when networks are to be trained or measured, and again, up to three times, where an
    executor has lost work. What it returns is shut down in ``pytest_sessionfinish``, before any
    other of its implementations: what it rests on, such as a Dask cluster, can be closed there or
    in ``pytest_unconfigure``. With ``--fragility-dask`` it is not asked.

    Parameters
    ----------
    config
        pytest's configuration.
    """
