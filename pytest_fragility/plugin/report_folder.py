"""``--fragility-report``: a folder with everything that an audit found."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from pytest_fragility.plugin.command_line import report_folder
from pytest_fragility.plugin.gathering import CURVES, Gathering
from pytest_fragility.plugin.terminal import write_text
from pytest_fragility.plugin.tested_check import CURVES_KEY
from pytest_fragility.plugin.workers import is_worker


class CurvesOnReports:
    """Has test reports carry the curves that a check's verdict rests on, also those of workers."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Attach what `TestedCheck` has noted."""
        report = yield
        if report.when == "call" and CURVES_KEY in item.stash:
            setattr(report, CURVES, item.stash[CURVES_KEY])
        return report


class ReportFolder:
    """Writes the folder when the session ends.

    Parameters
    ----------
    folder
        Where.
    gathering
        What the tests found.
    """

    def __init__(self, folder: Path, gathering: Gathering) -> None:
        self._folder = folder
        self._gathering = gathering
        self._note = ""

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the files; a folder that cannot be written to fails the session."""
        from pytest_fragility.errors import SettingsError
        from pytest_fragility.report.documents import document
        from pytest_fragility.report.folder import write_page, write_report

        found = document(self._gathering.audits, self._gathering.unjudged)
        if not found["audits"] and not found["unjudged"]:
            self._note = "no audit was run; no report is written"
            return
        try:
            write_report(self._folder, found)
        except SettingsError as error:
            self._note = str(error)
            session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED
            return
        try:
            self._note = f"report in {write_page(self._folder, found)}"
        except SettingsError as error:
            self._note = f"report in {self._folder}, without its page: {error}"

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Say where it is."""
        write_text(terminalreporter, f"fragility: {self._note}")


def register_report_folder(config: pytest.Config, gathering: Gathering) -> None:
    """Have a report written, where that is asked for.

    Raises
    ------
    pytest.UsageError
        If the folder cannot be one of a report.
    """
    folder = report_folder(config)
    if folder is None:
        return
    config.pluginmanager.register(CurvesOnReports(), "fragility-curves")
    if is_worker(config):
        return
    from pytest_fragility.errors import SettingsError
    from pytest_fragility.report.folder import require_report_folder

    try:
        require_report_folder(folder)
    except SettingsError as error:
        raise pytest.UsageError(f"fragility: {error}") from error
    config.pluginmanager.register(ReportFolder(folder, gathering), "fragility-report-folder")
