"""pytest-xdist's controller: what it hands to its workers, and shows of what they train."""

from __future__ import annotations

import math
import shutil
import tempfile
import threading
import time
import uuid
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from pytest_fragility.plugin.progress import TrainingLines, draws_bar, shows_progress
from pytest_fragility.plugin.workers import CHANNEL_KEY, FOLDER_KEY, INDEX_KEY

# a bar is not drawn while others have written so lately, since each turn takes a line
QUIET_SECONDS = 2.0
State = tuple[int, int, float]


class WorkersProgress:
    """Shows trainings as their workers tell of them, and never while others write.

    Messages come in threads of their own, which must not wait: who writes has those shown
    that have come in meanwhile.

    Parameters
    ----------
    config
        pytest's configuration.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
        self._writer = config.get_terminal_writer()
        self._has_bar = draws_bar(self._reporter)
        self._messages: deque[tuple[str, State]] = deque()
        self._writing = threading.RLock()
        self._trainings: dict[str, TrainingLines] = {}
        self._is_line_open = False
        self._others_wrote = -math.inf

    def receive(self, worker: str, state: State) -> None:
        """Take what a worker tells: runs done, runs to train, and the share of the work done."""
        self._messages.append((worker, state))
        self._show_messages()

    @contextmanager
    def set_aside(self) -> Iterator[None]:
        """Leave the terminal to others until this ends."""
        with self._writing:
            self._end_line()
            yield
            self._others_wrote = time.monotonic()
        self._show_messages()

    def forget(self, worker: str) -> None:
        """End what is shown of a worker that has ended."""
        self._show_messages()
        with self._writing:
            if self._trainings.pop(worker, None):
                self._end_line()

    def _show_messages(self) -> None:
        while self._messages and self._writing.acquire(blocking=False):
            try:
                while self._messages:
                    self._show(*self._messages.popleft())
            finally:
                self._writing.release()

    def _show(self, worker: str, state: State) -> None:
        lines = self._trainings.setdefault(worker, TrainingLines(self._has_bar))
        # of trainings at the same time, for several stores, the first has the bar
        has_bar = next(iter(self._trainings)) == worker
        is_quiet = time.monotonic() - self._others_wrote >= QUIET_SECONDS
        done, total, _ = state
        if done == total:
            del self._trainings[worker]
        text = lines.text(*state)
        if text and (text.endswith("\n") or (has_bar and is_quiet)):
            self._write(text)

    def _write(self, text: str) -> None:
        if not self._is_line_open:
            self._reporter.ensure_newline()
            if self._writer.width_of_current_line:
                self._writer.line()
        self._reporter.write(text, flush=True)
        self._is_line_open = not text.endswith("\n")

    def _end_line(self) -> None:
        if self._is_line_open:
            self._writer.line()
            self._is_line_open = False


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
