"""What CI reads of audits that pytest-xdist has spread over several processes."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

from tests.plugin.conftest import Project

pytest.importorskip("xdist")


def test_one_process_writes_what_all_have_found(project: Project) -> None:
    """Workers compare; the controller saves, annotates, and writes all reports once."""
    project.audit("reversing")
    folder = project.path / "fragility_baselines"
    project.run("--fragility", "--fragility-save=main", "-k", "trend or spread or exponent")
    baseline = json.loads((folder / "main.json").read_text())
    (audit,) = baseline["audits"].values()
    audit["checks"]["trend-adam"]["verdict"] = "kept"
    (folder / "main.json").write_text(json.dumps(baseline))
    project.run("--fragility", "--fragility-report=alone")

    finished = project.run_apart(
        "--fragility",
        "-n2",
        "-p",
        "no:hypothesispytest",
        "--fragility-compare=main",
        "--fragility-save=again",
        "--junitxml=report.xml",
        "--fragility-report=spread",
        GITHUB_ACTIONS="true",
        GITHUB_STEP_SUMMARY=str(project.path / "summary.md"),
    )

    assert finished.returncode == 1
    assert "1 failed, 4 passed, 2 xfailed" in finished.stdout
    told = "trend-adam was kept (exponent -3 [-3, -3]) in baseline main"
    lines = finished.stdout.splitlines()
    assert len([line for line in lines if line.startswith("E ") and told in line]) == 1
    assert "--fragility-init" not in finished.stdout
    assert finished.stdout.count("1 check worse:") == 1
    assert "baseline again: 6 checks saved" in finished.stdout
    (again,) = json.loads((folder / "again.json").read_text())["audits"].values()
    assert again["checks"]["trend-adam"]["verdict"] == "broken"
    commands = [line for line in lines if line.startswith("::")]
    assert [line.partition(" ")[0] for line in commands] == ["::error"]
    assert (project.path / "summary.md").read_text().count("## Fragility") == 1
    cases = list(ElementTree.parse(project.path / "report.xml").getroot().iter("testcase"))
    verdicts = [
        [node.get("value") for node in case.iter("property") if "verdict" in str(node.get("name"))]
        for case in cases
    ]
    assert sorted(verdicts) == [*[["broken"]] * 3, *[["kept"]] * 4]
    alone, spread = (
        (project.path / name / "audit.json").read_text() for name in ("alone", "spread")
    )
    assert alone == spread


def test_a_hint_comes_from_what_workers_have_collected(project: Project) -> None:
    """The controller collects nothing itself."""
    project.write("def test_plain(): pass\n")
    finished = project.run_apart("--fragility", "-n1", "-p", "no:hypothesispytest")
    assert finished.stdout.count("Begin with\npytest --fragility-init") == 1
