"""pytest-xdist's controller: what it hands to its workers, and shows of what they train."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Generator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from pytest_fragility.plugin.progress import shows_progress
from pytest_fragility.plugin.workers import CHANNEL_KEY, FOLDER_KEY, INDEX_KEY
from pytest_fragility.plugin.workers_progress import WorkersProgress


class Controller:
    """Numbers the workers, gives them a folder in common, and shows their progress as one.

    Parameters
    ----------
    config
        pytest's configuration.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._numbers = count()
        # made by the first worker that has nowhere else to keep trained runs
        self._folder = Path(tempfile.gettempdir()) / f"pytest-fragility-{uuid.uuid4().hex}"
        config.add_cleanup(self._remove_folder)
        self._progress: WorkersProgress | None = None

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_setupnodes(self, config: pytest.Config) -> None:
        """Prepare the display, now that there is a terminal."""
        if shows_progress(config):
            self._progress = WorkersProgress(config)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker what is its own."""
        node.workerinput[INDEX_KEY] = next(self._numbers)
        if node.gateway.spec.popen:
            node.workerinput[FOLDER_KEY] = str(self._folder)
        if self._progress:
            channel = node.gateway.newchannel()
            channel.setcallback(partial(self._progress.receive, node.gateway.id))
            node.workerinput[CHANNEL_KEY] = channel

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Expect nothing more of a worker."""
        if self._progress:
            self._progress.forget(node.gateway.id)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logstart(self) -> Generator[None, object, object]:
        """Keep progress from what others write."""
        return (yield from self._set_aside())

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logreport(self) -> Generator[None, object, object]:
        """Keep progress from what others write."""
        return (yield from self._set_aside())

    def _set_aside(self) -> Generator[None, object, object]:
        if self._progress is None:
            return (yield)
        with self._progress.set_aside():
            return (yield)

    def _remove_folder(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
