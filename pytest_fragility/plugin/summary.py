"""What is written once tests are done: how many were judged, where the time went, what is kept."""

from __future__ import annotations

import gc
import os
import textwrap
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from pytest_fragility._util.stopwatch import REST, Durations, timing
from pytest_fragility.checks.wording import WIDTH
from pytest_fragility.plugin.gathering import Gathering
from pytest_fragility.plugin.session import fragility_session
from pytest_fragility.plugin.terminal import write_text
from pytest_fragility.report.documents import unjudged_note
from pytest_fragility.report.durations import durations_table
from pytest_fragility.report.verdict_table import audit_table


class Summary:
    """Writes one table per audit.

    Parameters
    ----------
    gathering
        What the tests found.
    """

    def __init__(self, gathering: Gathering) -> None:
        self._gathering = gathering

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Write the tables, in the order of the audits; nothing where none ran.

        Under ``-q`` only how many tests reached no verdict.
        """
        audits, note = self._gathering.audits, unjudged_note(self._gathering.unjudged)
        if terminalreporter.config.get_verbosity() < 0:
            audits = []
        if audits or note:
            terminalreporter.write_sep("=", "fragility")
        for index, audit in enumerate(audits):
            if index:
                terminalreporter.write_line("")
            write_text(terminalreporter, audit_table(audit.records, errors=len(audit.errors)))
        if audits and note:
            terminalreporter.write_line("")
        for line in textwrap.wrap(note, WIDTH, subsequent_indent="  ", break_on_hyphens=False):
            write_text(terminalreporter, line)


# what a worker's times are called, on their way to the process that started it
DURATIONS_KEY = "fragility_durations"


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
            self._config.workeroutput[DURATIONS_KEY] = self._stopwatch.durations.to_rows()

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Note what a worker has timed; nothing where it ended early."""
        rows = getattr(node, "workeroutput", {}).get(DURATIONS_KEY)
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


class InterruptionNote:
    """Notes that a session was interrupted, and says how to go on.

    Parameters
    ----------
    config
        pytest's configuration.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._is_interrupted = False

    def pytest_keyboard_interrupt(self, excinfo: Any) -> None:
        """Note it; ``pytest.exit`` ends a session this way too."""
        self._is_interrupted = excinfo.errisinstance(KeyboardInterrupt)
        # the end of the process would search all of torch for garbage, several times over
        gc.freeze()

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Write the note; nothing where no training has begun, or none is kept."""
        session = fragility_session(self._config)
        folder = session.settings.cache_dir
        if not self._is_interrupted or folder is None or not folder.exists():
            return
        write_text(
            terminalreporter,
            f"fragility: {_what_is_kept(session.training, folder)}; the same command goes on "
            "from there",
        )


def _what_is_kept(training: tuple[int, int] | None, folder: Path) -> str:
    where = os.path.relpath(folder) if folder.is_relative_to(Path.cwd()) else folder
    if training is None or training[0] == training[1]:
        return f"trained networks are kept in {where}"
    done, total = training
    return f"{done} of the {total} networks in training are done and kept in {where}"
