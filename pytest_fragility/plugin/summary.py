"""The terminal's summary section."""

from __future__ import annotations

from typing import Any

from pytest_fragility.plugin.gathering import Gathering
from pytest_fragility.plugin.terminal import write_text
from pytest_fragility.report.table import audit_table


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
        """Write the tables, in the order of the audits; nothing where none ran."""
        audits = self._gathering.audits
        if not audits or terminalreporter.config.get_verbosity() < 0:
            return
        terminalreporter.write_sep("=", "fragility")
        for index, audit in enumerate(audits):
            if index:
                terminalreporter.write_line("")
            write_text(terminalreporter, audit_table(audit.records, errors=len(audit.errors)))
