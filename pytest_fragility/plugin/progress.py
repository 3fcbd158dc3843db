"""Progress while networks are trained: a bar on a terminal, a line a phase elsewhere and in CI."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any

from pytest_fragility.plugin.workers import CHANNEL_KEY, is_worker, worker_input

if TYPE_CHECKING:
    import pytest

    from pytest_fragility.families.train import Progress

BAR_WIDTH = 24
REFRESH_SECONDS = 0.2


def training_progress(config: pytest.Config) -> Progress | None:
    """Return where training reports to; None under ``-q``."""
    if is_worker(config):
        channel = worker_input(config).get(CHANNEL_KEY)
        return _SentProgress(channel) if channel else None
    if not shows_progress(config):
        return None
    return _TerminalProgress(config)


def shows_progress(config: pytest.Config) -> bool:
    """Return whether this process has a terminal, or a log, to show progress on."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    return reporter is not None and config.get_verbosity() >= 0


def draws_bar(reporter: Any) -> bool:
    """Return whether lines can be drawn over; CI systems call their logs terminals."""
    return bool(reporter.isatty) and not os.environ.get("CI")


class TrainingLines:
    """What is shown of one training after the other.

    Parameters
    ----------
    has_bar
        Whether a bar is drawn over itself.
    """

    def __init__(self, has_bar: bool) -> None:
        self._has_bar = has_bar
        self._started = time.monotonic()
        self._drawn = 0.0

    def text(self, done: int, total: int, share: float) -> str | None:
        """Return what to write now; None where nothing is due."""
        now = time.monotonic()
        if done == 0:
            self._started = now
        seconds, is_end = now - self._started, done == total
        if self._has_bar:
            if now - self._drawn < REFRESH_SECONDS and not is_end:
                return None
            self._drawn = now
            return self._bar(done, total, share, seconds) + ("\n" if is_end else "")
        if done == 0:
            return f"fragility: training {total} networks\n"
        return f"fragility: trained {total} networks in {seconds:.1f} s\n" if is_end else None

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


def shown_at_once(config: pytest.Config) -> Callable[[str], None] | None:
    """Return what writes to pytest's terminal, with output capture set aside meanwhile.

    None where this process has none.
    """
    capture = config.pluginmanager.get_plugin("capturemanager")
    reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:
        return None

    def show(text: str) -> None:
        with capture.global_and_fixture_disabled() if capture else nullcontext():
            reporter.ensure_newline()
            reporter.write(text, flush=True)

    return show


class _TerminalProgress:
    """Draws over pytest's terminal."""

    def __init__(self, config: pytest.Config) -> None:
        show = shown_at_once(config)
        assert show
        self._show = show
        reporter = config.pluginmanager.get_plugin("terminalreporter")
        self._lines = TrainingLines(draws_bar(reporter))

    def __call__(self, done: int, total: int, share: float) -> None:
        text = self._lines.text(done, total, share)
        if text is not None:
            self._show(text)


class _SentProgress:
    """Sends progress to the process that has the terminal."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._sent = 0.0

    def __call__(self, done: int, total: int, share: float) -> None:
        now = time.monotonic()
        if done in (0, total) or now - self._sent >= REFRESH_SECONDS:
            self._sent = now
            # a terminal that is gone is no reason not to train
            with suppress(OSError):
                self._channel.send((done, total, share))
