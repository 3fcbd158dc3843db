"""Breaking points on the command line."""

from __future__ import annotations

import pytest

from tests.plugin.conftest import Project

BREAKS = """
def breaks(network):
    return float(network.n) ** (1 if network.recipe.batch_size >= 64 else -1)


@pytest.mark.fragility(breaks, **{**SMALL, "checks": "trend", LOCATE})
def test_audit(check):
    check()
"""


def write(project: Project, locate: str) -> None:
    """Write an audit of a measure that breaks at four times the batch size."""
    project.write(BREAKS.replace("LOCATE", locate))


def test_an_axis_is_a_test_of_its_own(project: Project, shared_cache: str) -> None:
    """It passes, whatever it finds, and the summary shows it."""
    write(project, "'locate': ['batch', 'lr']")
    result = project.run("--fragility", shared_cache, "-k", "locate-batch")
    result.assert_outcomes(passed=1, deselected=6)
    result.stdout.fnmatch_lines(
        [
            "  breaking points: *admissible up to *breaks at",
            "  batch *batch-x8 *batch-x4 (batch-x3.3 does not)",
            "      trend: slope -1.00 * -> +1.00 *, fresh seeds",
            "  batch *batch-div4 *-",
        ]
    )
    assert max(map(len, result.stdout.lines)) <= 120


def test_the_option_walks_along_the_usual_axes(project: Project, shared_cache: str) -> None:
    """One test for each; without it there is none."""
    write(project, "")
    assert not any("locate" in each for each in project.ids("--fragility", shared_cache))
    ids = project.ids("--fragility", "--fragility-locate", shared_cache)
    located = [each.partition("locate-")[2].rstrip("]") for each in ids if "locate" in each]
    assert located == ["lr", "batch", "optimizer", "weight-decay", "init"]


def test_the_configuration_file_switches_it_on(project: Project, shared_cache: str) -> None:
    """And the marker goes before it."""
    project.pytester.makeini("[pytest]\nfragility_locate = true\n")
    write(project, "")
    assert any("locate-lr" in each for each in project.ids("--fragility", shared_cache))
    write(project, "'locate': False")
    assert not any("locate" in each for each in project.ids("--fragility", shared_cache))


def test_it_stops_at_the_budget(project: Project) -> None:
    """As an error of the test, with the message alone."""
    write(project, "'locate': ['batch'], 'budget': 5")
    result = project.run("--fragility", "-k", "locate")
    result.assert_outcomes(failed=1, deselected=5)
    result.stdout.fnmatch_lines(
        ["E *BudgetError: training on demand has used 0 of its budget of 5*"]
    )


@pytest.mark.parametrize("value", ["'rate'", "['lr', 'rate']", "3"])
def test_an_unknown_axis_fails_at_collection(project: Project, value: str) -> None:
    """The error lists those there are."""
    write(project, f"'locate': {value}")
    result = project.run("--fragility")
    assert result.ret != 0
    result.stdout.fnmatch_lines(["*locate=*expected*"])
