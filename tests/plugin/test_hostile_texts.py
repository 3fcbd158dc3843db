"""Texts from outside begin no command of a CI system, and steer no terminal."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from pytest_fragility import AuditFailure, FragilityError, audit
from pytest_fragility.errors import FragilityWarning, harmless
from tests.families.conftest import table_rows
from tests.families.test_tables import write
from tests.plugin.conftest import Project

# where a line begins, for GitHub, and anywhere, for others
COMMANDS = ("::error::x", "::add-mask::a", "##[error]x", "##vso[task.complete]x", "##teamcity[x]")
COMMAND = re.compile(r"^\s*::|##\w*\[", re.MULTILINE)
CONTROL = re.compile(r"[^\n\t -~\xa1-\u1fff\u2010-\u2027\u2030-\ud7ff]")
BREAKS = ("\n", "\n \t", "\r", "\x0b", "\x0c", "\x85", "\u2028", "\u2029", "\n\xa0", "\n\u3000")


def require_harmless(text: str) -> None:
    """Fail where a text holds a command, or a sign that is none to see; colors are pytest's."""
    assert not COMMAND.search(text), COMMAND.findall(text)
    assert not CONTROL.search(text), CONTROL.findall(text)
    lines = [line for line in text.splitlines() if line.lstrip().startswith("::")]
    assert not lines


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("line_break", BREAKS, ids=ascii)
def test_errors_warnings_and_failures(command: str, line_break: str) -> None:
    """Each is harmless when it is made; made harmless twice, it is the same."""
    verdict: Any = None
    said = "said\x1b[31m\x9b31m \u202e\u2066 \ud800"
    text = f"{command}{line_break}{command} {said}{line_break}{command}"
    for error in (FragilityError(text), FragilityWarning(text), AuditFailure(text, verdict)):
        require_harmless(str(error))
        assert harmless(str(error)) == str(error)
        assert "said\\x1b[31m\\x9b31m \\u202e\\u2066 \\ud800" in str(error)


def test_what_is_no_command_stays_as_it_is() -> None:
    """Test ids, slices, Markdown, IPv6 within a line and empty lists."""
    text = "tests/test_a.py::test_b[1]\n  a[::2]\n## Fragility [x]\n# [x]\n\t: :\nat [::1]\n"
    assert harmless(text) == text
    assert harmless("###[error]x") == "#\\x23#[error]x"


def hostile_rows() -> list[dict[str, Any]]:
    """Return a table whose texts are commands."""
    rows = table_rows()
    for row in rows:
        row |= {"task": "::error::task", "description": "##[error]described, ::error::x"}
        row["::error::fragile"] = row.pop("fragile")
        row["##vso[task.complete]"] = row.pop("steady")
        if row["recipe"] == "adam" and row["seed"] == 4:
            row["unfinished"] = "::error::unfinished"
    return rows


def test_an_audits_result() -> None:
    """As a text, of a hostile table."""
    for measure in ("::error::fragile", "##vso[task.complete]"):
        text = str(audit(measure, table=hostile_rows()))
        require_harmless(text)
        assert "\\x3a:error::task" in text.replace("\n", " ") or "::error::task" in text


@pytest.mark.parametrize("flags", [[], ["-v"], ["-rA", "--tb=short"], ["--collect-only", "-q"]])
def test_a_hostile_table(
    project: Project, flags: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its columns, cells and name, in all that is written; on GitHub our own commands are there."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project.path / "summary.md"))
    path = write(project.path / "::error::table.csv", hostile_rows())
    result = project.run(
        "--fragility",
        f"--fragility-table={path.name}",
        "--fragility-report=out",
        "--fragility-durations",
        *flags,
    )
    own = re.compile(r"::(error|warning) title=[^\n]*\n")
    require_harmless(own.sub("", result.stdout.str() + "\n" + result.stderr.str()))
    if "--collect-only" not in flags:
        assert len(own.findall(result.stdout.str())) == 2
        require_harmless((project.path / "summary.md").read_text(encoding="utf-8"))
        require_harmless((project.path / "out" / "summary.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("::error::x.csv", "recipe,n\n"),
        ("a\n::error::x.csv", "recipe,n,seed,test_error,m\nbaseline,x,0,0.1,1\n"),
        ("a\r##[error]x.csv", 'recipe,n,seed,test_error,m\n"a\n::error::",1,0,0.1,1\n,,,,3\n'),
        ("x.json", '[{"a\\n::error::x": 1}]'),
        ("x.json", '["::error::"]'),
        ("x.json", '[{"task": "a\\n::error::", "recipe": "a", "n": 1, "seed": 0}]'),
        ("x.csv", 'recipe,n,seed,test_error,"m\n::error::x"\nbaseline,16,0,0.1,1\n'),
        ("x.csv", "::error::a,##[error]b\n1,2\n"),
        ("gone/::error::.csv", ""),
    ],
)
@pytest.mark.parametrize("option", ["table", "manifest"])
def test_files_that_cannot_be_used(project: Project, name: str, text: str, option: str) -> None:
    """What is said of them, as an error of the command line."""
    path = project.path / name
    if path.parent.is_dir():
        path.write_text(text, encoding="utf-8")
    result = project.run("--fragility", f"--fragility-{option}={name}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    require_harmless(result.stdout.str() + "\n" + result.stderr.str())


RAISING = """
import warnings

from pytest_fragility import audit

COMMAND = "\\n" + 2 * ":" + "error" + 2 * ":" + "x\\r" + 2 * "#" + "[error]y"


class Odd(Exception):
    def __str__(self):
        return "odd" + COMMAND

    def __repr__(self):
        return "Odd" + COMMAND


def raising(network):
    raise Odd


def bad(network):
    return "odd" + COMMAND



@pytest.mark.fragility(raising, **SMALL)
def test_raising(check):
    check()


@pytest.mark.fragility(bad, **SMALL)
def test_bad(check):
    check()


def test_trend_adam_without_a_marker():
    audit(raising, **{**SMALL, "cache_dir": CACHE})
"""


@pytest.mark.parametrize(
    "style",
    [*(f"--tb={each}" for each in ("long", "short", "line", "native", "auto")), "--tb=long -l"],
)
def test_measures_that_raise(project: Project, shared_cache: str, style: str) -> None:
    """With messages of several lines: those of the exceptions themselves, too."""
    project.write(f"CACHE = {shared_cache.partition('=')[2]!r}\n{RAISING}")
    flags = ["-k", "trend-adam or trend_adam", "-v", *style.split()]
    result = project.run("--fragility", shared_cache, *flags)
    result.assert_outcomes(failed=3, deselected=12)
    require_harmless(result.stdout.str())
    assert "\\x3a:error::x" in result.stdout.str()


def test_a_baseline_that_was_changed_by_hand(project: Project) -> None:
    """Its texts are reasons of expected failures."""
    write(project.path / "values.csv", table_rows())
    flags = ["--fragility", "--fragility-table=values.csv", "--fragility-measure=fragile"]
    project.run(*flags, "--fragility-save=main")
    path = project.path / "fragility_baselines" / "main.json"
    saved = json.loads(path.read_text(encoding="utf-8"))
    hostile = "a\n::error::x\r##[error]y"
    for audited in saved["audits"].values():
        audited["settings"] |= {"task": hostile, hostile: hostile}
        for entry in audited["checks"].values():
            entry["change"] = hostile
        audited["checks"][hostile] = {"verdict": "broken", "change": hostile}
    saved["audits"][hostile] = next(iter(saved["audits"].values()))
    path.write_text(json.dumps(saved), encoding="utf-8")
    result = project.run(*flags, "--fragility-compare=main", "-rA")
    require_harmless(result.stdout.str())
    assert "error" in result.stdout.str()


def test_a_stored_run_that_was_changed_by_hand(project: Project, shared_cache: str) -> None:
    """Its task, and the folder that it is in, in the list of what is kept."""
    folder = Path("a\n::error::x")
    project.audit("falling")
    flag = f"--fragility-cache-dir={project.path / folder}"
    project.run("--fragility", flag, "-k", "trend-baseline")
    for path in project.stored(str(folder)):
        content = path.read_bytes()
        assert b"blobs" in content
        path.write_bytes(content.replace(b"blobs", b"##[a]"))
        break
    for command in ("list", "verify", "prune"):
        require_harmless(project.run(f"--fragility-store={command}", flag).stdout.str())
