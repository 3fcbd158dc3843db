"""The check of stopping, at checkpoints along one training, as pytest runs it."""

from __future__ import annotations

import shlex

import pytest

from pytest_fragility.training.trajectories import Trajectory
from tests.plugin.conftest import BASELINE_RUNS, Project
from tests.plugin.test_reports import require_plain
from tests.plugin.test_summary import summary

STOPPING = """
STOPPING = {**SMALL, "checks": ["trend", "stopping"], "perturbations": []}
STOPPING["checkpoints"] = ["past-x2", "past-x4"]


def overtrained(network):
    return float(network.n) ** (3 if network.recipe.stopping.overtime > 2 else -1)
"""
IDS = ["stopping-past-x2", "stopping-past-x4"]


def write_audit(project: Project, measure: str, arguments: str = "**STOPPING") -> None:
    """Write a test file that audits one measure at checkpoints."""
    project.write(
        f"{STOPPING}\n"
        f"@pytest.mark.fragility({measure}, {arguments})\ndef test_audit(check):\n    check()\n"
    )


def check_ids(project: Project, *arguments: str) -> list[str]:
    """Return the ids of the collected checks."""
    return [node.partition("[")[2].rstrip("]") for node in project.ids("--fragility", *arguments)]


def test_there_is_one_for_each_checkpoint(project: Project) -> None:
    """They can be selected by kind and by checkpoint."""
    write_audit(project, "falling")
    assert check_ids(project) == ["trend-baseline", *IDS, "controls", "agreement"]
    assert check_ids(project, "-k", "stopping") == IDS
    assert check_ids(project, "-k", "past-x4") == IDS[1:]
    assert check_ids(project, "test_audit.py::test_audit[stopping-past-x2]") == IDS[:1]


def test_profiles_have_checkpoints(project: Project) -> None:
    """They are checked where a marker names neither kinds nor checkpoints."""
    write_audit(project, "falling", "profile='quick'")
    assert check_ids(project, "-k", "stopping") == ["stopping-stop-accuracy", "stopping-past-x2"]


def test_the_baselines_own_trainings_serve_all_checkpoints(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is trained once, for as long as the last checkpoint takes."""
    trained: list[Trajectory] = []

    class Counted(Trajectory):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments)  # type: ignore[arg-type]
            trained.append(self)

    monkeypatch.setattr("pytest_fragility.training.trainer.Trajectory", Counted)
    write_audit(project, "falling")
    project.run("--fragility").assert_outcomes(passed=5)
    assert len(trained) == BASELINE_RUNS
    assert len(project.stored()) == 3 * BASELINE_RUNS


def test_only_selected_checkpoints_are_kept(project: Project) -> None:
    """The networks of others are not asked for."""
    write_audit(project, "falling")
    project.run("--fragility", "-k", "past-x2").assert_outcomes(passed=1, deselected=4)
    assert len(project.stored()) == 2 * BASELINE_RUNS


def test_a_failure_shows_slopes_and_where_training_stopped(
    project: Project, shared_cache: str
) -> None:
    """Both reasons, both slopes, the change, test error's, and how to run it again."""
    write_audit(project, "overtrained")
    result = project.run("--fragility", shared_cache)
    result.assert_outcomes(passed=4, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*CheckBroken: overtrained: stopping BROKEN under past-x4",
            "*The slope reverses: falling becomes rising; the exponent moves too far.",
            "*baseline  value ~ n^-1.00 *",
            "*past-x4   value ~ n^+3.00 *",
            "*change    +4.00 *, allowed *",
            "*(past-x4: stop at 30 steps -> stop at 120 steps)",
            "*The network itself barely changed: test error 0.??? -> 0.??? at n = 32,",
            "*past-x4   error ~ n^*",
            "*Rerun: pytest --fragility *test_audit.py::test_audit[[]stopping-past-x4[]]'",
        ]
    )
    line = next(line for line in result.outlines if "Rerun: " in line)
    again = project.run(*shlex.split(line.partition("Rerun: pytest")[2]))
    again.assert_outcomes(failed=1)


def test_an_inadmissible_checkpoint_is_skipped(project: Project, shared_cache: str) -> None:
    """One that the training does not reach says nothing about the measure."""
    write_audit(project, "falling", "**{**STOPPING, 'checkpoints': ['past-x2', 'stop-loss-0.001']}")
    result = project.run("--fragility", shared_cache, "-rs")
    result.assert_outcomes(passed=4, skipped=1)
    result.stdout.fnmatch_lines(
        ["SKIPPED*not admissible: stop-loss-0.001 is not a small change here: 9 of 9 runs did*"]
    )
    lines = summary(result)
    assert "falling on blobs: kept" in lines
    assert ["stop-loss-0.001", "not", "admissible", "-"] in [line.split() for line in lines]


def test_more_than_stopping_is_refused(project: Project) -> None:
    """At collection, with the option that it is for."""
    write_audit(project, "falling", "**{**STOPPING, 'checkpoints': ['lr-x3']}")
    result = project.run("--fragility")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*checkpoint 'lr-x3' changes more than where the training stops; name it in pert*"]
    )


def test_its_failures_can_be_expected(project: Project, shared_cache: str) -> None:
    """By a pattern; what is kept against it fails."""
    arguments = "xfail={'stopping-*': 'reads the steps'}, **STOPPING"
    write_audit(project, "overtrained", arguments)
    result = project.run("--fragility", shared_cache, "-rx")
    result.assert_outcomes(passed=3, xfailed=1, failed=1)
    result.stdout.fnmatch_lines(["XFAIL *stopping-past-x4[]] - reads the steps*"])


def test_the_command_line_names_checkpoints(project: Project, shared_cache: str) -> None:
    """Where the marker names none; the rerun command repeats them."""
    write_audit(project, "overtrained", "**{**STOPPING, 'checkpoints': None}")
    project.pytester.makeini("[pytest]\nfragility_checkpoints = past-x2\n")
    assert check_ids(project, "-k", "stopping") == IDS[:1]
    option = "--fragility-checkpoints=past-x4,past-x2"
    assert check_ids(project, "-k", "stopping", option) == IDS[::-1]
    result = project.run("--fragility", shared_cache, option, "-k", "stopping")
    result.assert_outcomes(passed=1, failed=1, deselected=3)
    result.stdout.fnmatch_lines([f"*Rerun: pytest --fragility *{option} *"])


def test_the_summary_has_checkpoints(project: Project, shared_cache: str) -> None:
    """One line each with the slope and the verdict, in 80 columns."""
    write_audit(project, "overtrained", f"name='{'o' * 60}', **STOPPING")
    lines = summary(project.run("--fragility", shared_cache))
    start = next(place for place, line in enumerate(lines) if line.startswith("  at checkpoints"))
    assert lines[start].split()[-1] == "verdict"
    rows = [line.split() for line in lines[start + 1 : start + 3]]
    assert [(row[0], row[1], row[-1]) for row in rows] == [
        ("past-x2", "-1.00", "kept"),
        ("past-x4", "+3.00", "BROKEN"),
    ]
    assert max(map(len, lines)) <= 80


def test_records_have_both_verdicts(project: Project, shared_cache: str) -> None:
    """That on the sign and that on the exponent, in plain JSON."""
    write_audit(project, "overtrained")
    _, kept, broken, *_ = project.records(shared_cache)
    for record, check_id, status in ((kept, IDS[0], "kept"), (broken, IDS[1], "broken")):
        require_plain(record)
        assert (record["check"], record["kind"], record["verdict"]) == (
            check_id,
            "stopping",
            status,
        )
        assert (record["evidence"]["trend"], record["evidence"]["exponent"]) == (status, status)
        assert (record["applicable"], record["change"]) == (True, "")


def test_checkpoints_are_no_perturbations(project: Project, shared_cache: str) -> None:
    """An admissible one does not stand in for a perturbation that is none."""
    write_audit(project, "falling", "**{**STOPPING, 'perturbations': [UNFINISHED]}")
    result = project.run("--fragility", shared_cache, "-k", "perturbations-admissible")
    result.assert_outcomes(failed=1, deselected=6)
    result.stdout.fnmatch_lines(["*No perturbation is admissible, so that nothing was audited*"])


def test_a_checkpoint_does_not_take_a_perturbations_place(
    project: Project, shared_cache: str
) -> None:
    """A perturbation of one's own that is called like a checkpoint, and is another, is refused."""
    mine = "Perturbation('past-x2', lambda recipe: recipe.replace(batch_size=4))"
    write_audit(project, "falling", f"**{{**STOPPING, 'perturbations': [{mine}]}}")
    result = project.run("--fragility", shared_cache)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*'past-x2'*"])
