"""What goes wrong in one audit stays there, and is never read as kept."""

from __future__ import annotations

import pytest

from tests.plugin.conftest import Project
from tests.plugin.test_summary import summary


def test_an_audit_that_cannot_train_leaves_the_others_alone(project: Project) -> None:
    """Its own tests fail with its own exception, told for each of them."""
    project.write(
        "def fail(): raise OSError('the disk is gone')\n"
        "@pytest.mark.fragility(falling, **{**SMALL, 'task': Task('lost', fail)})\n"
        "def test_lost(check): check()\n"
        "@pytest.mark.fragility(falling, **SMALL)\n"
        "def test_fine(check): check()\n"
    )
    result = project.run("--fragility", "-k", "trend", "--tb=line")
    result.assert_outcomes(passed=2, failed=2)
    assert result.stdout.str().count("OSError: the disk is gone") >= 2


def test_an_audit_with_crashes_is_not_kept(project: Project) -> None:
    """The table counts the checks that left no record."""
    project.audit("raising")
    lines = summary(project.run("--fragility"))
    assert lines[0] == "raising on blobs: inconclusive"
    assert any("5 checks ended in an error" in line for line in lines)


def test_audits_of_one_measure_do_not_share_a_table(project: Project) -> None:
    """The same measure and networks, another tolerance: two tables, in the order they ran."""
    project.write(
        "@pytest.mark.fragility(reversing, **SMALL)\n"
        "def test_strict(check): check()\n"
        "@pytest.mark.fragility(reversing, **SMALL, exponent_tolerance=100, spread_tolerance=100)\n"
        "def test_lenient(check): check()\n"
    )
    lines = summary(project.run("--fragility", "-k", "exponent"))
    assert [line for line in lines if " on blobs: " in line] == [
        "reversing on blobs: broken",
        "reversing on blobs: kept",
    ]


def test_networks_can_be_asked_for_while_a_test_runs(project: Project) -> None:
    """A fixture that is fetched by name was in nobody's plan."""
    project.write(
        "@pytest.mark.fragility(**SMALL)\n"
        "def test_late(request):\n"
        "    assert len(request.getfixturevalue('trained_family')) == 18\n"
    )
    project.run("--fragility").assert_outcomes(passed=1)


@pytest.mark.parametrize("folder", [".", "../{name}"])
def test_the_project_itself_is_no_cache(project: Project, folder: str) -> None:
    """A folder with other files in it is refused before anything is written there."""
    project.audit("falling")
    place = folder.format(name=project.path.name)
    result = project.run("--fragility", f"--fragility-cache-dir={place}", "--tb=short")
    result.assert_outcomes(failed=7)
    assert "it holds other files" in result.stdout.str()
    assert not (project.path / ".gitignore").exists()


def test_the_bare_marker_is_one_of_pytests(project: Project) -> None:
    """It can be a parameter's mark, or be added to an item."""
    project.write(
        "@pytest.mark.parametrize('x', [pytest.param(1, marks=pytest.mark.fragility)])\n"
        "def test_parameter(x): pass\n"
        "def test_plain(): pass\n"
    )
    (project.path / "conftest.py").write_text(
        "import pytest\n"
        "def pytest_collection_modifyitems(items):\n"
        "    for item in items: item.add_marker(pytest.mark.fragility)\n",
        encoding="utf-8",
    )
    project.run("--fragility").assert_outcomes(passed=2)


def test_a_measure_may_be_called_test(project: Project) -> None:
    """What takes a network is a measure, whatever its name."""
    project.write(
        "def test_error(network): return 1 / network.n\n"
        "test_error.__test__ = False\n"
        "@pytest.mark.fragility(test_error)\n"
        "def test_audit(check): check()\n"
    )
    assert len(project.ids("--fragility")) == 47


def test_an_undefined_measure_is_told_without_the_tools_own_code(project: Project) -> None:
    """The reason and the run, at the test's own line; an exception of the measure keeps its own."""
    project.write(
        "from pytest_fragility.measures import inverse_margin\n"
        "@pytest.mark.fragility(inverse_margin, **{**SMALL, 'sizes': [8, 16]})\n"
        "def test_undefined(check): check()\n"
        "@pytest.mark.fragility(raising, **SMALL)\n"
        "def test_raising(check): check()\n"
    )
    text = project.run("--fragility", "-k", "trend-baseline").stdout.str()
    undefined, raising = text.split("test_raising[trend-baseline]", 1)[0], text
    assert "n=8, seed 0: the margin is the 10th percentile" in undefined
    assert "pytest_fragility/" not in undefined.split("FAILURES")[1]
    assert "pytest_fragility/" in raising
