"""Whole audits as plain data: what a report's folder holds, and every page is made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from typing import Any

from pytest_fragility.checks.curve_data import Curve, widest
from pytest_fragility.checks.records import CONTEXT
from pytest_fragility.checks.verdicts import Record
from pytest_fragility.report.conclusion import audit_verdict
from pytest_fragility.report.unjudged import Unjudged

# of audit.json; described by audit.schema.json
DOCUMENT_SCHEMA = 1

# what records carry where checks are tests
OF_A_TEST = ("settings", "test")

Document = dict[str, Any]


@dataclass
class AuditedMeasure:
    """What the checks of one audit found.

    Parameters
    ----------
    id
        Which audit it is: a test without its parameters, or a measure's name.
    records
        One per check, from `pytest_fragility.checks.records.check_record`.
    errors
        By check: what kept it from being judged.
    curves
        From `pytest_fragility.checks.curve_data.curves_of_check`, of all checks.
    """

    id: str
    records: list[Record] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)
    curves: list[Curve] = field(default_factory=list)


def document(audits: Sequence[AuditedMeasure], unjudged: Sequence[Unjudged] = ()) -> Document:
    """Return what ``audit.json`` holds: plain JSON types, in the order of the audits.

    Parameters
    ----------
    audits
        What checks found; an audit of which none found anything has no place of its own.
    unjudged
        All tests that reached no verdict, those of such audits too.
    """
    return {
        "schema": DOCUMENT_SCHEMA,
        "generator": f"pytest-fragility {metadata.version('pytest-fragility')}",
        "audits": [_audit(audit) for audit in audits if audit.records],
        "unjudged": [asdict(each) for each in unjudged],
    }


def records_of(audit: Document) -> list[Record]:
    """Return the checks of one of a document's audits as records, which all wording takes."""
    context = {name: audit[name] for name in CONTEXT}
    return [context | check for check in audit["checks"]]


def _audit(audit: AuditedMeasure) -> Document:
    records = sorted(audit.records, key=lambda record: record["place"])
    return {
        "id": audit.id,
        **{name: records[0][name] for name in CONTEXT},
        "verdict": audit_verdict(records, errors=len(audit.errors)),
        "checks": [_check(record) for record in records],
        "errors": [{"check": check, "message": message} for check, message in audit.errors.items()],
        "curves": widest(audit.curves),
    }


def _check(record: Record) -> Document:
    left_out = {*CONTEXT, *OF_A_TEST} - {"seeds"}
    return {name: value for name, value in record.items() if name not in left_out}
