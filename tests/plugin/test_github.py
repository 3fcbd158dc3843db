"""On GitHub: the job's summary, and annotations of checks that are not kept."""

from __future__ import annotations

import re

import pytest

from pytest_fragility.plugin.ci import annotation
from tests.plugin.conftest import Project

COMMAND = re.compile(r"^::(\w+) (.*?)::(.*)$")


@pytest.fixture
def job(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project whose tests are run by a step of a workflow."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project.path / "summary.md"))
    monkeypatch.setenv("GITHUB_WORKSPACE", str(project.path.parent))
    return project


def commands(lines: list[str]) -> list[tuple[str, dict[str, str], str]]:
    """Return the workflow commands among lines: level, properties and message."""
    found = [match for match in map(COMMAND.match, lines) if match]
    return [
        (match[1], dict(part.split("=", 1) for part in match[2].split(",")), match[3])
        for match in found
    ]


def test_broken_checks_are_errors(job: Project) -> None:
    """Each has file, line and headline; what was expected to fail has none."""
    job.audit("reversing", "xfail={'spread-adam': 'known'}, **SMALL")
    found = commands(job.run("--fragility").outlines)
    assert [(level, place["title"]) for level, place, _ in found] == [
        ("error", "reversing%3A trend BROKEN under adam"),
        ("error", "reversing%3A exponent BROKEN under adam"),
    ]
    _, place, message = found[0]
    assert place["file"] == f"{job.path.name}/test_audit.py"
    assert place["line"] == "2"
    assert message.startswith("reversing: trend BROKEN under adam%0AThe slope reverses")
    assert "95 %25 intervals" in message


def test_inconclusive_checks_are_warnings(job: Project) -> None:
    """They are not broken, and are no errors."""
    job.audit("noise")
    found = commands(job.run("--fragility", "-q", "-k", "exponent-adam").outlines)
    assert [level for level, *_ in found] == ["warning"]


def test_measures_without_a_file(job: Project) -> None:
    """The annotation of a measure that the command line names has a title alone."""
    job.pytester.syspathinsert()
    job.pytester.makeini("[pytest]\nfragility_seeds = 2\nfragility_profile = quick\n")
    place = "--fragility-measure=pytest_fragility.measures:parameter_count"
    found = commands(job.run("--fragility", place, "-k", "symmetry-dead").outlines)
    assert [list(properties) for _, properties, _ in found] == [["title"]]


def test_the_summary_is_appended_to(job: Project) -> None:
    """Earlier steps' text stays; table and text of the audit come after it."""
    (job.path / "summary.md").write_text("before\n")
    job.audit("reversing")
    job.run("--fragility", "-q")
    text = (job.path / "summary.md").read_text()
    assert text.startswith("before\n## Fragility\n")
    assert "| `reversing` | `blobs` | **broken** | 3 | 3 | 0 | 0 | 0 |" in text
    assert "reversing on blobs: broken\n" in text


def test_a_summary_that_is_too_long(job: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """GitHub takes a megabyte: the table is kept."""
    monkeypatch.setattr("pytest_fragility.plugin.ci.MOST_BYTES", 500)
    job.audit("reversing")
    job.run("--fragility", "-q", "-k", "trend")
    text = (job.path / "summary.md").read_text()
    assert "| `reversing` |" in text and "<details>" not in text


def test_a_summary_that_cannot_be_written(job: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said, and changes no outcome."""
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(job.path))
    job.audit("falling")
    result = job.run("--fragility", "-k", "trend")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["fragility: cannot append to the job's summary: *"])


def test_elsewhere_nothing_is_written(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without GITHUB_ACTIONS=true neither commands nor a summary are written."""
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project.path / "summary.md"))
    project.audit("reversing")
    assert not commands(project.run("--fragility", "-k", "trend").outlines)
    assert not (project.path / "summary.md").exists()


def test_runs_without_audits_write_nothing(job: Project) -> None:
    """A run that audits nothing leaves the summary alone."""
    job.write("def test_plain(): assert False\n")
    assert not commands(job.run("--fragility").outlines)
    assert not (job.path / "summary.md").exists()


def test_hostile_texts_stay_in_their_place(job: Project) -> None:
    """No line break, comma or colon of a name ends a property, or begins a command."""
    job.audit("reversing")
    (record,) = job.records("-k", "trend-adam")
    record |= {"measure": "a%0A,b:c::error", "reason": "x\r\n::error::y"}
    line = annotation(record, {"file": "a,b:c.py", "line": "3"})
    assert line.startswith("::error file=a%2Cb%3Ac.py,line=3,title=a%250A%2Cb%3Ac%3A%3Aerror%3A ")
    assert not {"\r", "\n"} & set(line)
