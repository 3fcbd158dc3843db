"""Where values come from that were not measured on networks trained here, in words."""

from __future__ import annotations

from pytest_fragility.checks.records import Record


def source_of(record: Record) -> str:
    """Return what an audit was read from, such as ``values from values.csv``, or the device."""
    return str(record.get("source") or record["device"])


def values_from(record: Record) -> str:
    """Return the same behind a comma, for the end of a sentence; nothing without a source."""
    return f", {record['source']}" if record.get("source") else ""


def file_of(record: Record) -> str:
    """Return where that stands, such as ``values.csv``."""
    return str(record["source"]).partition(" from ")[2]
