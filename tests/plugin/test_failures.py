"""What a person sees when a check is not kept, does not apply, or cannot be judged."""

from __future__ import annotations

import shlex

import pytest

from tests.plugin.conftest import ALL_CHECKS, CHECKS, Project


def test_message_of_a_broken_check(project: Project) -> None:
    """It names measure, check and change, and shows that the network barely changed."""
    project.audit("reversing")
    result = project.run("--fragility", "-k", "trend-adam")
    result.assert_outcomes(failed=1, deselected=6)
    result.stdout.fnmatch_lines(
        [
            "*reversing: trend BROKEN under adam",
            "*The slope reverses: falling becomes rising.",
            "*baseline  value ~ n^-1.00 *",
            "*adam      value ~ n^+3.00 *",
            "*The network itself barely changed: test error 0.??? -> 0.??? at n = 32,",
            "*baseline*error ~ n^-0.*",
            "*adam*error ~ n^*",
            "*3 seeds, n = 16..64, task blobs, 95 % intervals over seeds*",
            "*Rerun: pytest --fragility 'test_audit.py::test_audit[[]trend-adam[]]'",
        ]
    )


@pytest.mark.parametrize("check", ["trend-adam", "exponent-adam", "spread-adam"])
def test_traceback_shows_the_test_alone(project: Project, check: str) -> None:
    """No line of the plugin's own code is shown."""
    project.audit("reversing")
    result = project.run("--fragility", "-k", check)
    result.stdout.fnmatch_lines(["*test_audit.py:?: CheckBroken"])
    shown = result.stdout.str().partition("= FAILURES =")[2]
    assert "pytest_fragility/" not in shown
    assert "__tracebackhide__" not in shown
    assert "assert_kept(" not in shown


def test_rerun_command_reruns_the_check(project: Project) -> None:
    """The command in the message selects that one test, with the options of the run."""
    project.audit("reversing", "**{**SMALL, 'alpha': None}")
    options = ["--fragility-alpha=0.1", "--fragility-cache-dir=some where"]
    result = project.run("--fragility", *options, "-k", "exponent")
    result.assert_outcomes(failed=1, deselected=6)
    # where CI is set, pytest repeats the message in its short summary
    line = next(line for line in result.outlines if "Rerun: " in line)
    program, *arguments = shlex.split(line.partition("Rerun: ")[2])
    assert program == "pytest"
    stored = project.stored("some where")
    again = project.run(*arguments)
    again.assert_outcomes(failed=1)
    again.stdout.fnmatch_lines(["*exponent BROKEN under adam", "*90 % intervals*"])
    assert project.stored("some where") == stored


def test_inadmissible_changes_are_skipped(project: Project) -> None:
    """A change that keeps training from its end convicts nothing, and acquits nothing either."""
    project.audit("falling", "**{**SMALL, 'perturbations': [UNFINISHED]}")
    result = project.run("--fragility", "-rs")
    result.assert_outcomes(passed=3, skipped=3, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*No perturbation is admissible, so that nothing was audited: unfinished is*",
            "SKIPPED*not admissible: unfinished is not a small change here: "
            "9 of 9 runs did not reach train cross-entropy*within 5 steps*",
        ]
    )


def test_undecided_changes_fail(project: Project) -> None:
    """Where seeds do not show that a change is small, nothing is kept."""
    project.audit("falling", "**{**SMALL, 'error_margin': 0}")
    result = project.run("--fragility")
    outcomes = result.parseoutcomes()
    assert outcomes["passed"] == 3  # the baseline's own trend, controls and agreement
    assert outcomes.get("failed", 0) + outcomes.get("skipped", 0) == len(ALL_CHECKS) - 3


def test_a_measure_that_raises(project: Project) -> None:
    """The failing network is named, and the measure's own line is shown."""
    project.audit("raising")
    result = project.run("--fragility", "-k", "trend-baseline")
    result.assert_outcomes(failed=1, deselected=6)
    result.stdout.fnmatch_lines(
        ['>*raise ValueError("no measure today")', "*MeasureError: measure raising on *"]
    )


@pytest.mark.parametrize("value", ["float('nan')", "-1.0", "'many'"])
def test_an_unusable_value(project: Project, value: str) -> None:
    """A measure that returns no usable number fails its checks, and the value is shown."""
    project.write(
        f"def odd(network): return {value}\n"
        "@pytest.mark.fragility(odd, **SMALL)\n"
        "def test_audit(check): check()\n"
    )
    result = project.run("--fragility", "-k", "not admissible and not controls")
    result.assert_outcomes(failed=len(CHECKS) + 1, deselected=2)
    shown = value.removeprefix("float('").removesuffix("')").removesuffix(".0")
    result.stdout.fnmatch_lines([f"*MeasureError: measure odd on *returned *{shown}*"])


def test_a_crash_in_training_is_the_tests_error(project: Project) -> None:
    """Data that cannot be read fail the tests that need them, with that exception shown."""
    project.write(
        "def missing(): raise OSError('no such data')\n"
        "@pytest.mark.fragility(falling, **{**SMALL, 'task': Task('missing', missing)})\n"
        "def test_audit(check): check()\n"
        "@pytest.mark.fragility(**{**SMALL, 'task': Task('missing', missing)})\n"
        "def test_by_hand(trained_family): pass\n"
        "def test_of_something_else(): pass\n"
    )
    result = project.run("--fragility")
    result.assert_outcomes(failed=len(ALL_CHECKS), errors=1, passed=1)
    result.stdout.fnmatch_lines([">*raise OSError('no such data')", "*OSError: no such data"])
    result.stdout.no_fnmatch_line("*INTERNALERROR*")


def test_sizes_beyond_the_pool(project: Project) -> None:
    """More samples than there are is said with the pool's size."""
    project.audit("falling", "**{**SMALL, 'sizes': (16, 1000)}")
    result = project.run("--fragility", "-k", "trend-adam")
    result.assert_outcomes(failed=1, deselected=6)
    result.stdout.fnmatch_lines(["*size 1000: the training pool of task 'blobs' has only 80*"])
