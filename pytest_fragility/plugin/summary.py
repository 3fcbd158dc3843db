"""The terminal's summary section."""

from __future__ import annotations

import textwrap
from typing import Any

from pytest_fragility.plugin.gathering import Gathering
from pytest_fragility.plugin.terminal import write_text
from pytest_fragility.report.terminal import WIDTH, audit_table
from pytest_fragility.report.unjudged import unjudged_note


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
