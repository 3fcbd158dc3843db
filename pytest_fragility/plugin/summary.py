"""The terminal's summary section, read off the test reports."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from pytest_fragility.plugin.tested_check import PROPERTY
from pytest_fragility.report.records import SCHEMA, Record
from pytest_fragility.report.table import audit_table


def records_of(report: pytest.TestReport) -> list[Record]:
    """Return what a report says of checks; a property of the test's own, of this name, is none."""
    records = []
    for name, value in report.user_properties:
        if name == PROPERTY:
            try:
                record = json.loads(str(value))
            except ValueError:
                continue
            if isinstance(record, dict) and record.get("schema") == SCHEMA:
                records.append(record)
    return records


@dataclass
class ReportedAudit:
    """What the reports of one audit's tests say."""

    records: list[Record] = field(default_factory=list)
    errors: int = 0


class Summary:
    """Gathers reports as they come in, from this process or its workers, and writes the tables."""

    def __init__(self) -> None:
        self._audits: dict[str, ReportedAudit] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note what a test found, or that it crashed before it found anything."""
        if report.when == "teardown":
            return
        found = records_of(report)
        audit = self._audit_of(report.nodeid)
        audit.records += found
        audit.errors += report.failed and not found

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        """Note the audits' order, which is not that of reports from several workers."""
        for nodeid in ids:
            self._audit_of(nodeid)

    @property
    def audits(self) -> list[ReportedAudit]:
        """Those of which some check found something, in the order in which audits ran."""
        return [audit for audit in self._audits.values() if audit.records]

    def _audit_of(self, nodeid: str) -> ReportedAudit:
        return self._audits.setdefault(nodeid.partition("[")[0], ReportedAudit())

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Write one table per audit, in the order in which audits ran; nothing where none did."""
        audits = self.audits
        if not audits or terminalreporter.config.get_verbosity() < 0:
            return
        terminalreporter.write_sep("=", "fragility")
        for index, audit in enumerate(audits):
            if index:
                terminalreporter.write_line("")
            terminalreporter.write_line(audit_table(audit.records, errors=audit.errors))
