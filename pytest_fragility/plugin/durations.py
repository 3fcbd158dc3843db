"""The terminal's section on where the time went: ``--fragility-durations``."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import pytest

from pytest_fragility._util.stopwatch import REST, Durations, timing
from pytest_fragility.plugin.options import DURATIONS
from pytest_fragility.plugin.terminal import write_text
from pytest_fragility.report.durations import durations_table


class DurationsSummary:
    """Times a session, and adds up what the workers of pytest-xdist have timed.

    Parameters
    ----------
    config
        pytest's configuration.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        running = ExitStack()
        self._stopwatch = running.enter_context(timing())
        config.add_cleanup(running.close)
        self._of_workers: list[Durations] = []
        self._lost = 0

    def pytest_sessionfinish(self) -> None:
        """Send what a worker has timed to the process that started it."""
        if hasattr(self._config, "workeroutput"):
            self._config.workeroutput[DURATIONS.key] = self._stopwatch.durations.to_rows()

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Note what a worker has timed; nothing where it ended early."""
        rows = getattr(node, "workeroutput", {}).get(DURATIONS.key)
        if rows is None:
            self._lost += 1
        else:
            self._of_workers.append(Durations.from_rows(rows))

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Write the section; nothing where no network was trained, read or asked about."""
        durations = self._stopwatch.durations
        workers = len(self._of_workers)
        if workers or self._lost:
            # this process has done little but wait for its workers
            durations = sum(self._of_workers, durations.without(REST))
        if durations.without(REST).spent:
            terminalreporter.write_sep("=", "fragility durations")
            write_text(
                terminalreporter, durations_table(durations, workers=workers, lost=self._lost)
            )
