"""Runs with ``-p no:skipping``, where no marker skips a test or expects it to fail."""

from __future__ import annotations

import json

import pytest

from tests.families.conftest import table_rows
from tests.plugin.conftest import Project

AUDIT = """
ASKED = {"table": TABLE, "error_margin": 10, "checks": "trend"}

@pytest.mark.fragility("steady", **ASKED)
def test_steady(check): check()

@pytest.mark.fragility("fragile", xfail={"trend-adam": "known"}, **ASKED)
def test_fragile(check): check()

@pytest.mark.fragility(table=TABLE)
def test_by_hand(learning_curves): learning_curves("steady")
"""


@pytest.fixture
def audits(project: Project) -> Project:
    """A project with two audits of a table, and a test of its own design."""
    project.write(AUDIT.replace("TABLE", repr("values.json")))
    (project.path / "values.json").write_text(json.dumps(table_rows()), encoding="utf-8")
    return project


def test_audits_run_and_fail_as_they_are(audits: Project) -> None:
    """Nothing is expected where nobody heeds what is."""
    arguments = ("--fragility", "-p", "no:skipping", "--strict-markers", "-k", "not by_hand")
    result = audits.run(*arguments)
    text = result.stdout.str()
    assert "AttributeError" not in text and "INTERNALERROR" not in text
    failed = [line for line in text.splitlines() if line.startswith("FAILED")]
    assert failed and all("test_fragile" in line and "Check" in line for line in failed)
    assert any("CheckBroken" in line and "trend-adam" in line for line in failed)


def test_without_the_option_they_are_skipped_all_the_same(audits: Project) -> None:
    """And nothing is judged."""
    count = len(audits.ids("--fragility"))
    result = audits.run("-p", "no:skipping", "--strict-markers", "-rs")
    result.assert_outcomes(skipped=count)
    result.stdout.fnmatch_lines(["SKIPPED*test_audit.py:*run pytest with --fragility"])


def test_no_worse_than_a_baseline_is_no_failure(audits: Project) -> None:
    """It is skipped, with the reason that it is expected for elsewhere."""
    chosen = ("--fragility", "-k", "not by_hand")
    audits.run(*chosen, "--fragility-save=main")
    plain = audits.run(*chosen, "--fragility-compare=main")
    assert plain.ret == 0
    result = audits.run(*chosen, "--fragility-compare=main", "-p", "no:skipping", "-rs")
    assert result.ret == 0
    excused = result.parseoutcomes()["skipped"]
    assert excused == sum(plain.parseoutcomes().get(each, 0) for each in ("skipped", "xfailed"))
