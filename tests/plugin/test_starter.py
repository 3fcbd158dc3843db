"""``--fragility-init``, and the hint at it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.plugin.conftest import Project

HINT = "fragility: no test is marked fragility, and no measure is named."
USAGE = pytest.ExitCode.USAGE_ERROR


def test_the_starter_is_an_audit(project: Project) -> None:
    """It is written into the current folder, and its expectations match its checks."""
    result = project.run("--fragility-init")
    assert result.ret == 0
    assert result.outlines[-1] == (
        "fragility: test_fragility.py written. Run it: pytest --fragility test_fragility.py"
    )
    ids = project.ids("--fragility", "test_fragility.py")
    checks = [node.partition("[")[2][:-1] for node in ids]
    assert checks[:4] == ["trend-baseline", "trend-lr-x3", "trend-lr-x10", "trend-adam-x10"]
    assert sum(check.startswith("symmetry-") for check in checks) == 8


def test_what_the_starter_expects_is_so(project: Project) -> None:
    """One kept trend, one that reverses, and a symmetry that the path norm does not have."""
    project.run("--fragility-init")
    selected = "trend-baseline or trend-adam-x10 or symmetry-dead-neurons"
    result = project.run("--fragility", "test_fragility.py", "-k", selected)
    result.assert_outcomes(passed=1, xfailed=2, deselected=12)
    assert result.ret == 0


def test_nothing_is_overwritten(project: Project) -> None:
    """Where there is such a file, it is a usage error, and the file is left."""
    path = project.path / "test_fragility.py"
    path.write_text("# mine\n")
    result = project.run("--fragility-init")
    assert result.ret == USAGE
    assert "test_fragility.py is there already, and is left as it is" in result.stderr.str()
    assert path.read_text() == "# mine\n"


def test_a_folder_that_cannot_be_written(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a usage error that says why."""
    opened = Path.open

    def refuse(path: Path, *arguments: Any, **options: Any) -> Any:
        if path.name == "test_fragility.py":
            raise PermissionError("read-only")
        return opened(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse)
    result = project.run("--fragility-init")
    assert result.ret == USAGE
    assert "cannot write test_fragility.py: read-only" in result.stderr.str()


@pytest.mark.parametrize("source", ["", "def test_plain(): pass\n", "def test_plain(): assert 0\n"])
def test_a_run_with_nothing_to_audit_says_how_to_begin(project: Project, source: str) -> None:
    """In an empty project, and where no test is marked; two lines."""
    if source:
        project.write(source)
    result = project.run("--fragility")
    result.stdout.fnmatch_lines(
        [f"{HINT} Begin with", "pytest --fragility-init, or with --fragility-measure=MODULE:*"]
    )


@pytest.mark.parametrize(
    ("source", "arguments"),
    [
        ("@pytest.mark.fragility(falling, **SMALL)\ndef test_it(check): pass\n", []),
        ("@pytest.mark.fragility(falling, **SMALL)\ndef test_it(check): pass\n", ["-k", "none"]),
        ("def test_it(fragility): pass\n", []),
        ("import nothing_of_that_name\n", []),
        ("def test_plain(): pass\n", ["-q"]),
        ("def test_plain(): pass\n", ["--fragility-measure=audits:falling", "-k", "none"]),
    ],
    ids=["marked", "deselected", "by hand", "not collected", "quiet", "named"],
)
def test_others_are_told_nothing(project: Project, source: str, arguments: list[str]) -> None:
    """Where there are audits, or nobody knows, there is no hint."""
    project.pytester.syspathinsert()
    project.write(source)
    assert HINT not in project.run("--fragility", *arguments).stdout.str()


def test_runs_that_do_not_ask_are_told_nothing(project: Project) -> None:
    """Neither without the option, nor where the configuration file always gives it."""
    project.write("def test_plain(): pass\n")
    assert HINT not in project.run().stdout.str()
    project.pytester.makeini("[pytest]\nfragility = true\n")
    assert HINT not in project.run().stdout.str()
