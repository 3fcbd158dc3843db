"""Property-based tests of trained networks, as users have Hypothesis."""

from __future__ import annotations

import re

import pytest

from tests.plugin.conftest import COUNTED_SAVES, Project

PROPERTY = """
from hypothesis import example, given, settings
from pytest_fragility.strategies import get_perturbation, perturbations, trained_networks

ASKED = {**SMALL, "sizes": (16, 32), "perturbations": ["adam", "batch-x2"]}
"""
WITHSTANDS = """
@pytest.mark.fragility(**ASKED)
@given(change=perturbations(axes=["lr", "batch"]))
def test_withstands(fragility, change):
    fragility.assert_withstands(falling, change)
"""
BREAKS = """
def breaks(network):
    return float(network.n) ** (1 if network.recipe.batch_size >= 64 else -1)


@pytest.mark.fragility(**ASKED)
@given(change=perturbations(axes=["batch"]))
def test_breaks(fragility, change):
    with open("tried.txt", "a") as log:
        log.write(change.name + "\\n")
    fragility.assert_withstands(breaks, change)
"""
NETWORKS = """
@pytest.mark.fragility
@given(network=trained_networks(**ASKED))
def test_networks(network):
    assert network.model(network.inputs).shape == (network.n, 3)
"""


def run(project: Project, *arguments: str, tests: str) -> str:
    """Write the tests and run them in a process of its own, with Hypothesis's plugin."""
    project.write(PROPERTY + tests, "test_property")
    finished = project.run_apart(*arguments, "-rA")
    return finished.stdout + finished.stderr


def run_here(project: Project, *arguments: str, tests: str) -> str:
    """Do the same in this process, without Hypothesis's plugin."""
    project.write(PROPERTY + tests, "test_property")
    return project.run(*arguments, "-rA").stdout.str()


def test_default_settings_are_enough(project: Project) -> None:
    """Deadline and health checks as they are; trained ahead in one go, and not again."""
    first = run(project, "--fragility", tests=WITHSTANDS + NETWORKS)
    assert "2 passed" in first
    assert len(re.findall(r"fragility: training \d+ networks", first)) == 2
    stored = project.stored()
    assert stored
    second = run_here(project, "--fragility", tests=WITHSTANDS + NETWORKS)
    assert "2 passed" in second and "training" not in second
    assert project.stored() == stored


def test_without_the_option_nothing_runs(project: Project) -> None:
    """A marked test is skipped with the reason that all audits have."""
    output = run_here(project, tests=WITHSTANDS + NETWORKS)
    assert "2 skipped" in output and "run pytest with --fragility" in output
    assert not project.stored()


def test_a_failure_names_the_smallest_change_and_is_replayed(project: Project) -> None:
    """Then the second run begins with what the first one found."""
    # Hypothesis keeps no database in CI
    kept = "from hypothesis.database import DirectoryBasedExampleDatabase as Kept\n" + BREAKS
    tests = kept.replace("@given", '@settings(database=Kept("kept"), deadline=None)\n@given')
    first = run(project, "--fragility", tests=tests)
    assert "breaks: trend BROKEN under batch-x4" in first
    assert "change=get_perturbation('batch-x4')" in first
    unwrapped = " ".join(first.replace("E  ", "").split())
    assert "The largest smaller change on this axis, batch-x2, keeps it" in unwrapped
    assert "fresh seeds" in unwrapped
    (project.path / "tried.txt").unlink()
    second = run_here(project, "--fragility", tests=tests)
    assert "breaks: trend BROKEN under batch-x4" in second and "training" not in second
    assert (project.path / "tried.txt").read_text().split()[0] == "batch-x4"


def test_examples_of_ones_own_come_first(project: Project) -> None:
    """``@example`` takes what a repr shows."""
    tests = BREAKS.replace("@given", '@example(change=get_perturbation("batch-x8"))\n@given')
    output = run_here(project, "--fragility", tests=tests)
    assert (project.path / "tried.txt").read_text().split()[0] == "batch-x8"
    assert "1 failed" in output


def test_derandomized_runs_are_the_same(project: Project) -> None:
    """As in CI: what is tried, and in which order."""
    tests = WITHSTANDS.replace("@given", "@settings(derandomize=True, deadline=None)\n@given")
    tests = tests.replace("    fragility", "    print('\\n' + change.name)\n    fragility")
    tried = []
    for _ in range(2):
        output = run_here(project, "--fragility", "-s", tests=tests)
        assert "1 passed" in output
        tried.append(re.findall(r"^(?:lr|batch)-\S+$", output, re.M))
    assert tried[0] == tried[1] and len(tried[0]) > 5


def test_composed_changes_need_no_settings(project: Project) -> None:
    """They are trained when they are drawn, and no deadline is in their way."""
    tests = WITHSTANDS.replace('"batch"])', '"batch"], max_axes=2)')
    assert "1 passed" in run(project, "--fragility", tests=tests)


def test_the_profile_can_be_named(project: Project) -> None:
    """It is known before any test file is read."""
    output = run(project, "--fragility", "-v", "--hypothesis-profile=fragility", tests=NETWORKS)
    assert "1 passed" in output and "hypothesis profile 'fragility'" in output


def test_the_budget_ends_training(project: Project) -> None:
    """With a message that says how to go on, before anything is trained."""
    output = run_here(project, "--fragility", "--fragility-budget=3", tests=NETWORKS)
    assert "BudgetError" in output and "has used 0 of its budget of 3 networks" in output
    assert not project.stored()


def test_networks_without_a_marker(project: Project) -> None:
    """A test that is not marked is the user's own: it runs with or without the option."""
    tests = NETWORKS.replace("@pytest.mark.fragility\n", "")
    assert "1 passed" in run_here(project, tests=tests)


def test_two_workers_train_each_network_once(project: Project) -> None:
    """What one has trained, the other reads."""
    pytest.importorskip("xdist")
    project.write(COUNTED_SAVES, "conftest")
    twice = NETWORKS + NETWORKS.replace("test_networks", "test_others")
    assert "2 passed" in run(project, "--fragility", "-n2", tests=twice)
    saved = (project.path / "saved.txt").read_text().split()
    assert len(saved) == len(set(saved)) == 18


FIXTURES = """
from hypothesis import strategies as st

@pytest.mark.fragility(**SMALL)
@given(row=st.integers(0, 15))
def test_family(trained_family, row):
    assert len(trained_family["blobs", "adam", 16, 0].inputs[row]) == 6

@pytest.mark.fragility(**SMALL)
@settings(max_examples=5)
@given(factor=st.sampled_from([1.0, 2.0]))
def test_curves(learning_curves, factor):
    curves = learning_curves(falling)
    assert curves.measure["adam"].slope.mean == pytest.approx(-1)

@pytest.mark.fragility(**SMALL)
class TestBoth:
    @pytest.mark.parametrize("kind", ["a", "b"])
    @given(st.integers(0, 2))
    def test_both(self, learning_curves, trained_family, fragility, kind, seed):
        assert trained_family["blobs", "adam", 16, seed].seed == seed
"""
OF_ONES_OWN = """
@pytest.fixture
def counter(): return []

@pytest.mark.fragility(**SMALL)
@given(change=perturbations(axes=["batch"]))
def test_counter(trained_family, counter, change): pass
"""
SHADOWED = """
@pytest.fixture
def trained_family(): return []

@given(change=perturbations(axes=["batch"]))
def test_shadowed(trained_family, change): pass
"""


def test_networks_are_taken_beside_given(project: Project) -> None:
    """They are the same for all examples, so that no health check complains."""
    output = run(project, "--fragility", tests=FIXTURES)
    assert "4 passed" in output, output
    assert "4 skipped" in run_here(project, tests=FIXTURES)


def test_fixtures_of_ones_own_are_still_complained_of(project: Project) -> None:
    """Those that every example changes, and those that only have a name of the package's."""
    output = run(project, "--fragility", tests=OF_ONES_OWN + SHADOWED)
    assert "2 failed" in output or "1 failed, 1 error" in output, output
    assert output.count("FailedHealthCheck") >= 2
