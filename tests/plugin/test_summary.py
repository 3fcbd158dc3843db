"""The summary section at the end of a run."""

from __future__ import annotations

import pytest

from tests.plugin.conftest import Project

HEADLINE = "= fragility ="


def summary(result: pytest.RunResult) -> list[str]:
    """Return the lines of the summary section; none where there is no such section."""
    lines = result.outlines
    starts = [index for index, line in enumerate(lines) if HEADLINE in line]
    if not starts:
        return []
    assert len(starts) == 1
    ends = [index for index, line in enumerate(lines) if index > starts[0] and line[:1] == "="]
    return lines[starts[0] + 1 : ends[0]]


def rows(lines: list[str]) -> list[list[str]]:
    """Return the words of a table's rows, one row per recipe."""
    names = ("baseline ", "adam ", "momentum ", "unfinished ", "rmsprop ")
    return [line.split() for line in lines if line.strip().startswith(names)]


def verdicts(lines: list[str]) -> list[tuple[str, ...]]:
    """Return the recipes' names with their verdicts, the slopes left out."""
    return [(row[0], *row[5:]) for row in rows(lines)]


def test_every_check_has_its_place(project: Project) -> None:
    """One row per recipe, in the order of the plan, with the verdict of each check."""
    project.audit("reversing", "**{**SMALL, 'perturbations': ['momentum', 'adam']}")
    lines = summary(project.run("--fragility"))
    assert lines[0] == "reversing on blobs: broken"
    assert verdicts(lines) == [
        ("baseline", "kept"),
        ("momentum", "kept", "kept", "kept"),
        ("adam", "BROKEN", "BROKEN", "BROKEN"),
    ]
    assert max(map(len, lines)) <= 80


def test_order_of_rows_is_the_plans(project: Project) -> None:
    """Running tests in another order leaves the table as it is."""
    project.audit("reversing", "**{**SMALL, 'perturbations': ['momentum', 'adam']}")
    (project.path / "conftest.py").write_text(
        "def pytest_collection_modifyitems(items): items.reverse()\n"
    )
    assert [row[0] for row in rows(summary(project.run("--fragility")))] == [
        "baseline",
        "momentum",
        "adam",
    ]


def test_only_what_ran_is_shown(project: Project) -> None:
    """Deselected checks leave their cells empty."""
    project.audit("reversing")
    lines = summary(project.run("--fragility", "-k", "exponent-adam"))
    assert verdicts(lines) == [("baseline",), ("adam", "BROKEN")]


def test_one_table_per_audit(project: Project) -> None:
    """Each measure has a table of its own, as has each task."""
    project.write(
        "@pytest.mark.fragility(falling, **SMALL)\n"
        "def test_one(check): check()\n"
        "@pytest.mark.fragility(reversing, xfail={'*-adam': 'known'}, **SMALL)\n"
        "def test_two(check): check()\n"
        "@pytest.mark.fragility(falling, **{**SMALL, 'task': Task('other', load)})\n"
        "def test_three(check): check()\n"
    )
    lines = summary(project.run("--fragility"))
    assert {line for line in lines if " on " in line} == {
        "falling on blobs: kept",
        "reversing on blobs: broken",
        "falling on other: kept",
    }
    assert verdicts(lines).count(("adam", "BROKEN", "BROKEN", "BROKEN")) == 1
    assert verdicts(lines).count(("adam", "kept", "kept", "kept")) == 2
    assert max(map(len, lines)) <= 80


def test_inadmissible_changes_have_no_verdict(project: Project) -> None:
    """A skipped check shows that its change was not admissible."""
    project.audit("falling", "**{**SMALL, 'perturbations': ['adam', UNFINISHED]}")
    result = project.run("--fragility")
    result.assert_outcomes(passed=7, skipped=3)
    lines = summary(result)
    assert ["unfinished", "not", "admissible", "-", "-", "-"] in rows(lines)
    assert any("unfinished is not a small change here" in line for line in lines)


@pytest.mark.parametrize("arguments", [["-q"], ["-qq"]])
def test_quiet_runs_have_no_summary(project: Project, arguments: list[str]) -> None:
    """``-q`` leaves the section out."""
    project.audit("falling")
    result = project.run("--fragility", *arguments)
    assert result.ret == 0
    assert not summary(result)


def test_runs_without_audits_have_no_summary(project: Project) -> None:
    """No section where no check ran."""
    project.write("def test_plain(): pass\n")
    assert not summary(project.run("--fragility"))
    project.audit("falling")
    assert not summary(project.run())
    assert not summary(project.run("--fragility", "--collect-only"))


def test_no_colour_of_its_own(project: Project) -> None:
    """The section has none, on a terminal or not; pytest's own lines have as pytest decides."""
    project.audit("reversing")
    output = project.run("--fragility", "--color=yes").stdout.str()
    section = output.partition("= fragility =")[2].partition("= short test")[0]
    assert "BROKEN" in section
    assert "\x1b" not in section.rpartition("\n")[0]
