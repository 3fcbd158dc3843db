"""Checks that are expected to fail."""

from __future__ import annotations

from tests.plugin.conftest import ALL_CHECKS, Project


def test_expected_failures(project: Project) -> None:
    """A check that breaks as expected is an xfail, with its reason."""
    project.audit(
        "reversing",
        "xfail={'trend-adam': 'its slope reverses', '[es]*-adam': 'and so on'}, **SMALL",
    )
    result = project.run("--fragility", "-rx")
    result.assert_outcomes(xfailed=3, passed=4)
    result.stdout.fnmatch_lines(
        [
            "XFAIL test_audit.py::test_audit[[]trend-adam[]] - its slope reverses*",
            "XFAIL test_audit.py::test_audit[[]exponent-adam[]] - and so on*",
            "XFAIL test_audit.py::test_audit[[]spread-adam[]] - and so on*",
        ]
    )
    assert result.ret == 0


def test_inconclusive_checks_are_expected_failures_too(project: Project) -> None:
    """What seeds do not decide can be expected."""
    project.audit("noise", "xfail={'[!p]*': 'random'}, **SMALL")
    project.run("--fragility", "-k", "trend").assert_outcomes(xfailed=2, deselected=5)


def test_first_matching_pattern_gives_the_reason(project: Project) -> None:
    """Where several patterns match, the one that stands first counts."""
    project.audit("reversing", "xfail={'trend-adam': 'first', '*-adam': 'second'}, **SMALL")
    result = project.run("--fragility", "-rx", "-k", "trend-adam")
    result.stdout.fnmatch_lines(["XFAIL *trend-adam[]] - first*"])


def test_kept_against_expectation_fails(project: Project) -> None:
    """An expected failure that does not come is a failure: the measure got better."""
    project.audit("falling", "xfail={'trend-adam': 'it used to reverse'}, **SMALL")
    result = project.run("--fragility")
    result.assert_outcomes(failed=1, passed=len(ALL_CHECKS) - 1)
    result.stdout.fnmatch_lines(["*[[]XPASS(strict)[]] it used to reverse*"])


def test_xfail_accepts_no_crash(project: Project) -> None:
    """A measure that raises is no expected failure."""
    project.audit("raising", "xfail={'[!p]*': 'fragile'}, **SMALL")
    result = project.run("--fragility", "-k", "trend")
    result.assert_outcomes(failed=2, deselected=5)
    result.stdout.fnmatch_lines(["*raised ValueError: no measure today*"])
    result.stdout.no_fnmatch_line("*INTERNALERROR*")


def test_xfail_accepts_no_failure_of_the_test_itself(project: Project) -> None:
    """An assertion of the test's own is no expected failure of the audit."""
    project.write(
        "@pytest.mark.fragility(reversing, xfail={'*-adam': 'fragile'}, **SMALL)\n"
        "def test_audit(check):\n"
        "    assert False, 'of my own'\n"
    )
    project.run("--fragility", "-k", "trend-adam").assert_outcomes(failed=1, deselected=6)
