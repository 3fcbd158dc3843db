"""``--fragility-report``: what audits find, written to a folder."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest

from tests.plugin.conftest import ALL_CHECKS, Project


def document(project: Project, folder: str = "report") -> Any:
    """Return what a report's folder holds."""
    return json.loads((project.path / folder / "audit.json").read_text(encoding="utf-8"))


def test_a_report_has_what_the_terminal_has(project: Project, shared_cache: str) -> None:
    """Every verdict, expected failures among them; the last line says where it is."""
    project.audit("reversing", "xfail={'trend-adam': 'known'}, **SMALL")
    result = project.run("--fragility", shared_cache, "--fragility-report=report")
    page = project.path / "report" / "index.html"
    result.stdout.fnmatch_lines([f"fragility: report in {page}"])
    assert "test_audit" in page.read_text(encoding="utf-8")
    (audited,) = document(project)["audits"]
    assert audited["id"] == "test_audit.py::test_audit"
    assert audited["verdict"] == "broken"
    verdicts = {check["check"]: check["verdict"] for check in audited["checks"]}
    assert sorted(verdicts) == sorted(ALL_CHECKS)
    assert verdicts["trend-adam"] == "broken"
    recipes = {(curve["quantity"], curve["recipe"]) for curve in audited["curves"]}
    assert recipes == {(q, r) for q in ("measure", "test error") for r in ("baseline", "adam")}
    rows = (project.path / "report" / "curves.csv").read_text(encoding="utf-8").splitlines()
    assert len(rows) == 1 + 2 * 2 * 9


def test_without_the_extra_only_the_page_is_missing(
    project: Project, shared_cache: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of an older report too; the last line says how to have it."""
    project.audit("falling")
    project.run("--fragility", shared_cache, "--fragility-report=report")
    assert (project.path / "report" / "index.html").exists()
    monkeypatch.setattr("pytest_fragility.report.page.find_spec", lambda name: None)
    result = project.run("--fragility", shared_cache, "--fragility-report=report")
    assert result.ret == 0
    folder = project.path / "report"
    expected = f"fragility: report in {folder}, without its page: *'pytest-fragility[[]report[]]'"
    result.stdout.fnmatch_lines([expected])
    assert {path.name for path in folder.iterdir()} == {
        "audit.json",
        "curves.csv",
        "comparison.csv",
        "comparison.tex",
        "summary.md",
    }
    assert "| `falling` |" in (folder / "summary.md").read_text(encoding="utf-8")


def test_a_report_that_cannot_be_written_fails_the_run(
    project: Project, shared_cache: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The verdicts are on the terminal all the same."""

    def refuse(path: Path, text: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pytest_fragility.report.folder.write_whole", refuse)
    project.audit("falling")
    result = project.run("--fragility", shared_cache, "--fragility-report=report")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["falling on blobs: kept", "fragility: *cannot be written: No space left on device*"]
    )


def test_crashes_stand_in_the_report(project: Project, shared_cache: str) -> None:
    """By check, with their message; the audit is not kept."""
    project.write(
        "def fails_on_adam(network):\n"
        "    if network.recipe_name == 'adam': raise ValueError('singular')\n"
        "    return 1 / network.n\n"
        "@pytest.mark.fragility(fails_on_adam, **SMALL)\ndef test_audit(check):\n    check()\n"
    )
    project.run("--fragility", shared_cache, "--fragility-report=report")
    (audited,) = document(project)["audits"]
    errors = {error["check"]: error["message"] for error in audited["errors"]}
    assert set(errors) == {"trend-adam", "exponent-adam", "spread-adam", "agreement"}
    assert "raised ValueError: singular" in errors["trend-adam"]
    assert audited["verdict"] == "inconclusive"


def test_the_configuration_file_names_a_folder(project: Project, shared_cache: str) -> None:
    """Below the rootdir; nothing is written where no audit ran."""
    project.pytester.makeini("[pytest]\nfragility_report = out/report\n")
    project.audit("falling")
    result = project.run("--fragility", shared_cache, "-k", "nothing")
    result.stdout.fnmatch_lines(["fragility: no audit was run; no report is written"])
    assert not (project.path / "out").exists()
    project.run("--fragility", shared_cache)
    assert len(document(project, "out/report")["audits"]) == 1
    assert not project.run().stdout.str().count("report")


@pytest.mark.parametrize("name", ["index.html", "curves.csv"])
def test_other_peoples_files_are_left_alone(project: Project, name: str) -> None:
    """Before anything is trained."""
    project.audit("falling")
    (project.path / name).write_text("mine")
    result = project.run("--fragility", "--fragility-report=.")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*it holds a file {name} that is not of a report*"])
    assert (project.path / name).read_text() == "mine"
    assert not project.stored()
