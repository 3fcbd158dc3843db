"""Audits spread over several processes by pytest-xdist."""

from __future__ import annotations

import re

import pytest

from tests.plugin.conftest import BASELINE_RUNS, COUNTED_SAVES, Project
from tests.plugin.test_summary import rows, summary

pytest.importorskip("xdist")


def test_two_workers_do_what_one_process_does(project: Project) -> None:
    """The same outcomes, the same networks, each trained once, and one summary with all checks."""
    project.audit("reversing", "xfail={'spread-adam': 'known'}, **SMALL")
    alone = project.run("--fragility", "-rA", "--fragility-cache-dir=alone")
    project.write(COUNTED_SAVES, "conftest")
    spread = project.run_apart("--fragility", "-rA", "-n2", "-p", "no:hypothesispytest")
    pattern = re.compile(r"^(PASSED|FAILED|XFAIL) (test_audit\.py::\S+)", re.M)
    outcomes = sorted(pattern.findall(alone.stdout.str()))
    assert [outcome for outcome, _ in outcomes] == ["FAILED"] * 2 + ["PASSED"] * 4 + ["XFAIL"]
    assert sorted(pattern.findall(spread.stdout)) == outcomes
    assert "2 workers" in spread.stdout

    saved = (project.path / "saved.txt").read_text().split()
    assert len(saved) == len(set(saved)) == 2 * BASELINE_RUNS
    names = {path.name for path in project.stored()}
    assert names == {path.name for path in project.stored("alone")}

    result = pytest.RunResult(spread.returncode, spread.stdout.splitlines(), [], 0)
    assert rows(summary(result)) == rows(summary(alone))
    assert spread.returncode == alone.ret == 1
