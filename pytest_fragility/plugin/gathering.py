"""What test reports carry of audits, from this process or its workers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from pytest_fragility.checks.records import SCHEMA
from pytest_fragility.checks.verdicts import Record
from pytest_fragility.plugin.asked import ASKED
from pytest_fragility.report.documents import AuditedMeasure, Unjudged


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


def asked_of(report: pytest.TestReport) -> Mapping[str, str]:
    """Return which check a test stands for, as a `CheckPlace` has it; empty where for none."""
    asked: Mapping[str, str] = getattr(report, ASKED, {})
    return asked


class Gathering:
    """Audits, and their checks, in the order in which tests were collected.

    Of a test that is run again the last run counts.
    """

    def __init__(self) -> None:
        self._order: dict[str, int] = {}
        # by the ids of tests: which check each stands for, for the report of a crash, which is bare
        self._started: dict[str, Mapping[str, str]] = {}
        # by worker, audit and case: which check it is, and the report that its test ended with
        self._ended: dict[tuple[str, str, str], tuple[Mapping[str, str], pytest.TestReport]] = {}

    @property
    def audits(self) -> list[AuditedMeasure]:
        """What the reports so far say of each audit of which some check found something."""
        audits: dict[str, AuditedMeasure] = {}
        for asked, report in self._in_order():
            audit = audits.setdefault(asked["key"], AuditedMeasure(asked["audit"]))
            found = records_of(report)
            audit.records += found
            audit.curves += getattr(report, CURVES, [])
            if report.failed and not found:
                audit.errors[asked["case"]] = message_of(report)
        return [audit for audit in audits.values() if audit.records]

    @property
    def unjudged(self) -> list[Unjudged]:
        """The tests that have ended without a verdict so far."""
        return [
            Unjudged(asked["audit"], asked["case"], message_of(report))
            for asked, report in self._in_order()
            if not records_of(report)
        ]

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Note the order of this process's own tests."""
        self._note_order([item.nodeid for item in session.items])

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        """Note the order of tests, which is not that of reports from several workers."""
        self._note_order(ids)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep what a test ended with; one whose process crashed tells no more of itself."""
        asked = asked_of(report) or self._started.get(report.nodeid)
        if not asked:
            return
        self._started[report.nodeid] = asked
        worker, key, case = getattr(report, "worker_id", ""), asked["key"], asked["case"]
        if report.when == "setup":
            # as well where an earlier run of it took its worker along
            for earlier in (worker, ""):
                self._ended.pop((earlier, key, case), None)
        is_end = report.when != "teardown" and not (report.when == "setup" and report.passed)
        if is_end:
            self._ended[worker, key, case] = asked, report

    def _note_order(self, ids: Sequence[str]) -> None:
        for nodeid in ids:
            self._order.setdefault(nodeid, len(self._order))

    def _in_order(self) -> list[tuple[Mapping[str, str], pytest.TestReport]]:
        last = len(self._order)
        return sorted(self._ended.values(), key=lambda each: self._order.get(each[1].nodeid, last))


def message_of(report: pytest.TestReport) -> str:
    """Return what a test ended with: its error, or the reason why it was skipped."""
    longrepr: Any = report.longrepr
    crash = getattr(longrepr, "reprcrash", None)
    if isinstance(longrepr, tuple):
        # a skip: path, line and reason
        return str(longrepr[2])
    return str(crash.message if crash else longrepr)


PROPERTY = "fragility"
# an attribute of test reports, which workers send along
CURVES = "fragility_curves"
