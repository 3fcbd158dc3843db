"""Progress lines while networks are trained."""

from __future__ import annotations

import re

import pytest

from pytest_fragility.plugin.progress import training_progress
from tests.plugin.conftest import Project


class Reporter:
    """As much of pytest's terminal reporter as progress uses."""

    def __init__(self, isatty: bool) -> None:
        self.isatty = isatty
        self.text = ""

    def ensure_newline(self) -> None:
        """Start a new line."""

    def write(self, text: str, flush: bool = False) -> None:
        """Keep the text."""
        self.text += text


class Plugins:
    """As much of pytest's plugin manager as progress uses."""

    def __init__(self, reporter: Reporter) -> None:
        self.reporter = reporter

    def get_plugin(self, name: str) -> Reporter | None:
        """Return the reporter, and no capture manager."""
        return self.reporter if name == "terminalreporter" else None


class Config:
    """As much of pytest's configuration as progress uses."""

    def __init__(self, reporter: Reporter) -> None:
        self.pluginmanager = Plugins(reporter)

    def get_verbosity(self) -> int:
        """Return the default."""
        return 0


def test_two_lines_where_output_is_no_terminal(project: Project) -> None:
    """A log gets one line when training begins and one when it ends, even while captured."""
    project.audit("falling")
    for capture in ("fd", "sys", "no"):
        folder = f"--fragility-cache-dir=kept_{capture}"
        result = project.run("--fragility", f"--capture={capture}", folder, "-k", "admissible")
        result.assert_outcomes(passed=1, deselected=6)
        lines = [line for line in result.outlines if line.startswith("fragility: train")]
        assert lines[0] == "fragility: training 18 networks"
        assert re.fullmatch(r"fragility: trained 18 networks in \d+\.\d s", lines[1])
        assert len(lines) == 2


def test_quiet_runs_show_no_progress(project: Project) -> None:
    """``-q`` trains silently."""
    project.audit("falling")
    result = project.run("--fragility", "-q", "-k", "admissible")
    assert result.ret == 0
    assert len(project.stored()) == 18
    result.stdout.no_fnmatch_line("*fragility: train*")


@pytest.mark.parametrize("isatty", [True, False])
def test_a_terminal_gets_a_bar(isatty: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal a bar is drawn over itself, and its line ends when training does."""
    monkeypatch.delenv("CI", raising=False)
    reporter = Reporter(isatty)
    progress = training_progress(Config(reporter))  # type: ignore[arg-type]
    assert progress is not None
    for done, share in ((0, 0.0), (3, 0.5), (6, 1.0)):
        progress(done, 6, share)
    text = reporter.text
    assert text.endswith("\n")
    assert ("\r" in text and "[" + "#" * 24 + "] 6/6 networks" in text) == isatty
    assert ("fragility: training 6 networks\n" in text) == (not isatty)


def test_ci_gets_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """CI systems call their logs terminals: no bar is drawn where CI is set."""
    monkeypatch.setenv("CI", "true")
    reporter = Reporter(isatty=True)
    progress = training_progress(Config(reporter))  # type: ignore[arg-type]
    assert progress is not None
    progress(0, 6, 0.0)
    assert reporter.text == "fragility: training 6 networks\n"
