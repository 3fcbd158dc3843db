"""The progress of what pytest-xdist's workers train, on the controller's terminal."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pytest_fragility.plugin.progress import TrainingLines, draws_bar

if TYPE_CHECKING:
    import pytest

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
