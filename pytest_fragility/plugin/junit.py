"""``--junitxml``: what a check found, as properties that a person or a dashboard can read."""

from __future__ import annotations

import pytest

from pytest_fragility.plugin.gathering import records_of
from pytest_fragility.report.findings import change_of, exponent_of, sensitivity_of, verdict_of
from pytest_fragility.report.records import Record


class JunitProperties:
    """Puts a check's findings into JUnit XML, beside the record, one property each."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add the properties to the report that JUnit XML takes them from."""
        if report.when == "teardown":
            for record in records_of(report):
                report.user_properties += readable_properties(record)


def readable_properties(record: Record) -> list[tuple[str, object]]:
    """Return names and values; those that the check does not have are left out."""
    found = {
        "measure": record["measure"],
        "task": record["task"],
        "check": record["check"],
        "verdict": verdict_of(record),
        "seeds": str(len(record["seeds"])),
    }
    exponent = exponent_of(record)
    if exponent:
        found[exponent.name] = str(exponent)
    numbers = {"change": change_of(record), "sensitivity": sensitivity_of(record)}
    found |= {name: str(quantity) for name, quantity in numbers.items() if quantity}
    return [(f"fragility_{name}", value) for name, value in found.items()]
