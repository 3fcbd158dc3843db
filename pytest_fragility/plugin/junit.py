"""``--junitxml``: what a check found, as properties that a person or a dashboard can read."""

from __future__ import annotations

import pytest
from _pytest.junitxml import xml_key

from pytest_fragility.checks.records import Record
from pytest_fragility.plugin.gathering import Gathering, asked_of, records_of
from pytest_fragility.report.findings import change_of, exponent_of, sensitivity_of, verdict_of

NO_VERDICT = "no verdict"


class JunitProperties:
    """Puts a check's findings into JUnit XML, beside the record, one property each.

    Parameters
    ----------
    gathering
        What has gathered the reports.
    """

    def __init__(self, gathering: Gathering) -> None:
        self._gathering = gathering

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add the properties to the report that JUnit XML takes them from."""
        if report.when == "teardown":
            records, asked = records_of(report), asked_of(report)
            for record in records:
                report.user_properties += readable_properties(record)
            if asked and not records:
                report.user_properties += [
                    ("fragility_check", asked["check"]),
                    ("fragility_verdict", NO_VERDICT),
                ]

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Add to the whole suite how many tests reached no verdict, before the file is written."""
        xml = session.config.stash.get(xml_key, None)
        if xml:
            xml.add_global_property("fragility_unjudged", str(len(self._gathering.unjudged)))


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
