"""What test reports carry of audits, from this process or its workers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from pytest_fragility.plugin.tested_check import CURVES, PROPERTY
from pytest_fragility.report.documents import AuditedMeasure
from pytest_fragility.report.records import SCHEMA, Record


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


def audit_of(nodeid: str) -> str:
    """Return which audit a test belongs to: the test without its parameters."""
    return nodeid.partition("[")[0]


class Gathering:
    """Audits, and their checks, in the order in which tests were collected."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}
        self._reports: list[pytest.TestReport] = []

    @property
    def audits(self) -> list[AuditedMeasure]:
        """What the reports so far say of each audit of which some check found something."""
        audits: dict[str, AuditedMeasure] = {}
        for report in sorted(self._reports, key=self._place):
            key = audit_of(report.nodeid)
            _add(report, audits.setdefault(key, AuditedMeasure(key)))
        return [audit for audit in audits.values() if audit.records]

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Note the order of this process's own tests."""
        self._note_order([item.nodeid for item in session.items])

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        """Note the order of tests, which is not that of reports from several workers."""
        self._note_order(ids)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep what a test found, or that it crashed before it found anything."""
        if report.when != "teardown" and (report.failed or records_of(report)):
            self._reports.append(report)

    def _note_order(self, ids: Sequence[str]) -> None:
        for nodeid in ids:
            self._places.setdefault(nodeid, len(self._places))

    def _place(self, report: pytest.TestReport) -> int:
        return self._places.get(report.nodeid, len(self._places))


def _add(report: pytest.TestReport, audit: AuditedMeasure) -> None:
    found = records_of(report)
    audit.records += found
    audit.curves += getattr(report, CURVES, [])
    if report.failed and not found:
        check = report.nodeid.partition("[")[2].removesuffix("]")
        audit.errors[check or report.nodeid] = _message_of(report)


def _message_of(report: pytest.TestReport) -> str:
    longrepr: Any = report.longrepr
    crash = getattr(longrepr, "reprcrash", None)
    return str(crash.message if crash else longrepr)
