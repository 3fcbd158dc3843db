"""Progress while networks are trained: a bar on a terminal, a line a phase elsewhere and in CI."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

    from pytest_fragility.families import Progress

BAR_WIDTH = 24
REFRESH_SECONDS = 0.2


def terminal_progress(config: pytest.Config) -> Progress | None:
    """Return where training reports to; None under ``-q`` and in xdist workers."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or hasattr(config, "workerinput") or config.get_verbosity() < 0:
        return None
    return _TerminalProgress(config, reporter)


class _TerminalProgress:
    """Draws over pytest's terminal, with output capture set aside meanwhile."""

    def __init__(self, config: pytest.Config, reporter: Any) -> None:
        self._capture = config.pluginmanager.get_plugin("capturemanager")
        self._reporter = reporter
        self._draws_bar = reporter.isatty and not os.environ.get("CI")
        self._started = time.monotonic()
        self._drawn = 0.0

    def __call__(self, done: int, total: int, share: float) -> None:
        now = time.monotonic()
        if done == 0:
            self._started = now
        is_end = done == total
        if self._draws_bar:
            if now - self._drawn >= REFRESH_SECONDS or is_end:
                self._drawn = now
                self._write(self._bar(done, total, share, now - self._started), is_end)
        elif done == 0:
            self._write(f"fragility: training {total} networks", ends=True)
        elif is_end:
            seconds = now - self._started
            self._write(f"fragility: trained {total} networks in {seconds:.1f} s", ends=True)

    def _bar(self, done: int, total: int, share: float, seconds: float) -> str:
        filled = round(BAR_WIDTH * share)
        if share == 0:
            left = "starting"
        elif share < 1:
            left = f"{seconds / share - seconds:.0f} s left"
        else:
            left = f"{seconds:.1f} s"
        bar = "#" * filled + "." * (BAR_WIDTH - filled)
        return f"\rfragility: training [{bar}] {done}/{total} networks, {left}   "

    def _write(self, text: str, ends: bool) -> None:
        if self._capture is None:
            self._draw(text, ends)
            return
        with self._capture.global_and_fixture_disabled():
            self._draw(text, ends)

    def _draw(self, text: str, ends: bool) -> None:
        self._reporter.ensure_newline()
        self._reporter.write(text + ("\n" if ends else ""), flush=True)
