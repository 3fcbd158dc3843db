"""Seeds that are trained as they are needed, and controls and agreement, through the plugin."""

from __future__ import annotations

import pytest

from tests.plugin.conftest import ALL_CHECKS, BASELINE_RUNS, Project
from tests.plugin.test_summary import summary

AUTO = "--fragility-seeds=auto"
FREE = "**{**SMALL, 'seeds': None}"


@pytest.fixture
def falling(project: Project) -> Project:
    """A project with an audit that says nothing about seeds."""
    project.audit("falling", FREE)
    return project


def test_the_header_says_how_far_looks_go(falling: Project) -> None:
    """Before anything is trained."""
    result = falling.run("--fragility", AUTO, "--collect-only")
    result.stdout.fnmatch_lines(["fragility: profile standard, 5 to 21 seeds, *"])


def test_checks_take_the_seeds_they_need(falling: Project) -> None:
    """What the first looks decide is trained no longer, and each verdict says what it took."""
    result = falling.run("--fragility", AUTO)
    result.assert_outcomes(passed=len(ALL_CHECKS))
    text = " ".join(" ".join(summary(result)).split())
    assert "98.75 % intervals at each of 4 looks, which share 5 %" in text
    assert "of looks at 5, 8, 13 and 21" in text
    stored = len(falling.stored())
    assert 2 * BASELINE_RUNS <= stored < 2 * 7 * BASELINE_RUNS
    again = falling.run("--fragility", AUTO)
    again.stdout.no_fnmatch_line("fragility: train*")
    assert summary(again) == summary(result)


@pytest.mark.parametrize("where", ["marker", "ini"])
def test_markers_and_files_ask_for_it_too(project: Project, where: str) -> None:
    """As on the command line."""
    if where == "ini":
        project.audit("falling", FREE)
        project.pytester.makeini("[pytest]\nfragility_seeds = auto-8\n")
    else:
        project.audit("falling", "**{**SMALL, 'seeds': 'auto-8'}")
    records = project.records()
    assert {tuple(record["looks"]) for record in records} == {(5, 8)}
    assert {len(record["seeds"]) for record in records} <= {5, 8}


def test_an_open_check_says_what_would_decide(project: Project) -> None:
    """With the option to say so."""
    project.audit("noise", FREE)
    result = project.run("--fragility", "--fragility-seeds=auto-8", "-k", "trend-baseline")
    result.assert_outcomes(failed=1, deselected=len(ALL_CHECKS) - 1)
    text = " ".join(result.stdout.str().replace("E  ", "").split())
    assert "97.5 % intervals over seeds at each of 2 looks, which share 5 %" in text
    assert "(--fragility-seeds=auto-" in text or "More than 200 seeds would be needed" in text
    assert "Rerun: pytest --fragility --fragility-seeds=auto-8" in text


def test_a_measure_of_the_command_line(project: Project) -> None:
    """It is imported when the looks begin, and keeps what it knows of itself."""
    project.write("", "test_nothing")
    project.pytester.syspathinsert()
    result = project.run(
        "--fragility",
        "--fragility-measure=pytest_fragility.measures:parameter_count",
        "--fragility-profile=quick",
        "--fragility-ladder=none",
        "--fragility-task=digits",
        AUTO,
        "-k",
        "exponent-lr-x3 or controls",
    )
    outcomes = result.parseoutcomes()
    assert (outcomes["passed"], outcomes.get("failed", 0)) == (2, 0)
    assert any("the same under every recipe" in line for line in summary(result))


def test_one_that_fails_takes_no_other_along(project: Project) -> None:
    """Each audit is looked at for itself then."""
    project.write(
        "@pytest.mark.fragility(falling, **{**SMALL, 'seeds': 'auto'})\n"
        "def test_good(check): check()\n"
        "def missing(): raise OSError('no such data')\n"
        "@pytest.mark.fragility(\n"
        "    falling, **{**SMALL, 'seeds': 'auto', 'task': Task('missing', missing)})\n"
        "def test_bad(check): check()\n"
    )
    result = project.run("--fragility")
    result.assert_outcomes(passed=len(ALL_CHECKS), failed=len(ALL_CHECKS))
    result.stdout.fnmatch_lines(["*OSError: no such data"])


def test_a_measure_that_raises_fails_its_checks(project: Project) -> None:
    """Those that need its values."""
    project.audit("raising", FREE)
    result = project.run("--fragility", AUTO)
    result.assert_outcomes(passed=2, failed=len(ALL_CHECKS) - 2)
    result.stdout.fnmatch_lines(["*ValueError: no measure today"])


def test_fixtures_beside_looks_take_the_profiles_seeds(project: Project) -> None:
    """A test of one's own design has no looks."""
    project.write(
        "@pytest.mark.fragility(**{**SMALL, 'seeds': 'auto', 'profile': 'quick'})\n"
        "def test_by_hand(trained_family): assert trained_family.seeds == (0, 1, 2, 3)\n"
    )
    project.run("--fragility").assert_outcomes(passed=1)


def test_controls_that_misbehave_fail_the_audit(project: Project) -> None:
    """Tolerances that noise keeps: one test fails, and nothing is concluded."""
    project.audit("falling", "exponent_tolerance=100, spread_tolerance=100, **SMALL")
    result = project.run("--fragility")
    result.assert_outcomes(passed=len(ALL_CHECKS) - 1, failed=1)
    result.stdout.fnmatch_lines(["*ControlsMisbehave: falling: the audit's own controls misbehave"])
    lines = summary(result)
    assert lines[0] == "falling on blobs: inconclusive"
    assert any("this audit cannot be trusted" in line for line in lines)


def test_agreement_stands_beside_the_verdicts(project: Project) -> None:
    """In the table, and in the report's record."""
    project.audit("falling")
    (record,) = [r for r in project.records() if r["check"] == "agreement"]
    assert record["evidence"]["networks"] == 2 * BASELINE_RUNS
    assert record["evidence"]["granulated"]["recipe"] == 0.0
    text = " ".join(" ".join(summary(project.run("--fragility"))).split())
    assert f"agreement with test error over {2 * BASELINE_RUNS} networks: Kendall's tau" in text
