"""The terminal's summary section, read off the test reports."""

from __future__ import annotations

import json
from typing import Any

from pytest_fragility.plugin.session import PROPERTY
from pytest_fragility.report.records import Record
from pytest_fragility.report.table import audit_table


def write_summary(reporter: Any) -> None:
    """Write one table per audit, in the order in which audits ran; nothing where none did."""
    audits: dict[str, list[Record]] = {}
    for record in _records(reporter):
        names = ("measure", "task", "baseline", "sizes", "seeds", "alpha")
        audits.setdefault(json.dumps([record[name] for name in names]), []).append(record)
    if not audits or reporter.config.get_verbosity() < 0:
        return
    reporter.section("fragility")
    for index, records in enumerate(audits.values()):
        if index:
            reporter.write_line("")
        reporter.write_line(audit_table(records))


def _records(reporter: Any) -> list[Record]:
    reports = [
        report
        for category in ("passed", "failed", "xfailed", "xpassed", "skipped")
        for report in reporter.stats.get(category, [])
    ]
    found = [
        (getattr(report, "nodeid", ""), json.loads(value))
        for report in reports
        if getattr(report, "when", "") == "call"
        for name, value in report.user_properties
        if name == PROPERTY
    ]
    return [record for _, record in found]
