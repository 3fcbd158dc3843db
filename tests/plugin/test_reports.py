"""What checks found, as machines read it off test reports."""

from __future__ import annotations

import json
import math
from typing import Any
from xml.etree import ElementTree

from tests.plugin.conftest import ALL_CHECKS, Project


def require_plain(value: Any) -> None:
    """Assert that a value is made of plain JSON types, all numbers finite."""
    if isinstance(value, dict):
        assert all(type(key) is str for key in value)
        for part in value.values():
            require_plain(part)
    elif isinstance(value, list):
        for part in value:
            require_plain(part)
    else:
        assert type(value) in (str, int, float, bool, type(None))
        assert not isinstance(value, float) or math.isfinite(value)


def test_each_report_carries_one_compact_string(project: Project) -> None:
    """One property, one line of JSON without spaces between its parts."""
    project.audit("reversing")
    exit_code, reports = project.reports()
    assert exit_code == 1
    assert len(reports) == len(ALL_CHECKS)
    for report, check in zip(reports, ALL_CHECKS, strict=True):
        ((name, value),) = report.user_properties
        assert name == "fragility"
        assert isinstance(value, str) and "\n" not in value
        record = json.loads(value)
        assert value == json.dumps(record, separators=(",", ":"))
        require_plain(record)
        assert record["check"] == check
        assert record["measure"] == "reversing"
        assert record["task"] == "blobs"


def test_a_record_has_verdict_and_evidence(project: Project) -> None:
    """The verdict, the change with its interval, and what was allowed."""
    project.audit("reversing")
    (record,) = project.records("-k", "exponent-adam")
    assert (record["kind"], record["perturbation"]) == ("exponent", "adam")
    assert record["verdict"] == "broken"
    assert record["admissibility"] == "admissible"
    assert (record["sizes"], record["seeds"]) == ([16, 32, 64], [0, 1, 2])
    change = record["evidence"]["change"]
    assert change["low"] <= change["mean"] <= change["high"]
    assert abs(change["mean"] - 4) < 1e-6
    low, high = record["evidence"]["allowed"]
    assert low <= -0.1 and high >= 0.1
    assert set(record["error_levels"]) == {"baseline", "adam"}


def test_every_outcome_carries_its_record(project: Project) -> None:
    """Expected failures and skipped checks report what they found, as others do."""
    project.audit(
        "reversing",
        "xfail={'*-adam': 'known'}, **{**SMALL, 'perturbations': ['adam', UNFINISHED]}",
    )
    exit_code, reports = project.reports()
    assert exit_code == 0
    verdicts = {}
    for report in reports:
        (record,) = (json.loads(str(value)) for _, value in report.user_properties)
        verdicts[record["check"]] = (report.outcome, hasattr(report, "wasxfail"), record["verdict"])
    assert verdicts["trend-adam"] == ("skipped", True, "broken")
    assert verdicts["spread-adam"] == ("skipped", True, "broken")
    assert verdicts["trend-unfinished"] == ("skipped", False, "inconclusive")
    assert verdicts["trend-baseline"] == ("passed", False, "kept")


def test_infinite_seeds_and_flat_measures_stay_plain(project: Project) -> None:
    """Records of flat and of random measures are plain JSON as well."""
    project.write(
        "@pytest.mark.fragility(lambda network: 2, name='flat', **SMALL)\n"
        "def test_flat(check): check()\n"
        "@pytest.mark.fragility(noise, **SMALL)\n"
        "def test_noise(check): check()\n"
    )
    records = project.records()
    assert len(records) == 2 * len(ALL_CHECKS)
    for record in records:
        require_plain(record)
    assert {r["verdict"] for r in records if r["measure"] == "flat"} == {"kept", "broken"}


def test_junit_xml(project: Project) -> None:
    """JUnit XML carries the records, whatever the outcome, and parses."""
    project.audit("reversing", "xfail={'trend-adam': 'known'}, **SMALL")
    project.run("--fragility", "--junitxml=report.xml").assert_outcomes(
        passed=4, failed=2, xfailed=1
    )
    cases = ElementTree.parse(project.path / "report.xml").getroot().iter("testcase")
    records = {}
    for case in cases:
        (value,) = [
            node.get("value") for node in case.iter("property") if node.get("name") == "fragility"
        ]
        assert value is not None
        records[case.get("name")] = json.loads(value)
    assert list(records) == [f"test_audit[{check}]" for check in ALL_CHECKS]
    assert records["test_audit[trend-adam]"]["verdict"] == "broken"
    assert records["test_audit[trend-baseline]"]["verdict"] == "kept"


def test_reports_are_the_same_every_time(project: Project) -> None:
    """A second run, which reads networks from the store, reports the same numbers."""
    project.audit("noise")
    first = project.records()
    assert len(first) == len(ALL_CHECKS)
    assert project.records() == first
