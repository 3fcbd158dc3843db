"""One display for what several workers train."""

from __future__ import annotations

from threading import Thread

import pytest

from pytest_fragility.plugin import xdist as workers_progress
from pytest_fragility.plugin.xdist import WorkersProgress


class Terminal:
    """As much of pytest's terminal reporter and its writer as the display uses."""

    def __init__(self, isatty: bool) -> None:
        self.isatty = isatty
        self.text = ""

    @property
    def width_of_current_line(self) -> int:
        """How far the last line has come."""
        return len(self.text.rpartition("\n")[2])

    def ensure_newline(self) -> None:
        """Nothing that the reporter knows of is open."""

    def line(self) -> None:
        """End a line."""
        self.text += "\n"

    def write(self, text: str, flush: bool = False) -> None:
        """Keep the text."""
        self.text += text


class Config:
    """As much of pytest's configuration as the display uses."""

    def __init__(self, isatty: bool) -> None:
        self.terminal = Terminal(isatty)
        self.pluginmanager = self

    def get_plugin(self, name: str) -> Terminal:
        """Return the reporter."""
        return self.terminal

    def get_terminal_writer(self) -> Terminal:
        """Return what the reporter writes with."""
        return self.terminal


@pytest.fixture
def no_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """Terminals are terminals."""
    monkeypatch.delenv("CI", raising=False)


def display(isatty: bool) -> tuple[WorkersProgress, Terminal]:
    """Return a display and its terminal."""
    config = Config(isatty)
    return WorkersProgress(config), config.terminal  # type: ignore[arg-type]


@pytest.mark.usefixtures("no_ci")
def test_lines_begin_where_a_line_begins() -> None:
    """In a log, what others have left open is ended first."""
    progress, terminal = display(isatty=False)
    with progress.set_aside():
        terminal.write("..")
    for state in ((0, 4, 0.0), (2, 4, 0.5), (4, 4, 1.0)):
        progress.receive("gw1", state)
    first, second, third, rest = terminal.text.split("\n")
    assert (first, second, rest) == ("..", "fragility: training 4 networks", "")
    assert third.startswith("fragility: trained 4 networks in 0.0 s")


@pytest.mark.usefixtures("no_ci")
def test_a_bar_gives_way_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others begin a line of their own; the bar returns once they have been silent for a while."""
    progress, terminal = display(isatty=True)
    progress.receive("gw0", (0, 4, 0.0))
    assert terminal.text.endswith("0/4 networks, starting   ")
    with progress.set_aside():
        terminal.write("..")
    monkeypatch.setattr("pytest_fragility.plugin.progress.REFRESH_SECONDS", 0)
    progress.receive("gw0", (1, 4, 0.3))
    assert terminal.text.endswith("starting   \n..")
    monkeypatch.setattr(workers_progress, "QUIET_SECONDS", 0)
    progress.receive("gw0", (2, 4, 0.5))
    assert "starting   \n..\n\rfragility: training [############....." in terminal.text
    progress.receive("gw0", (4, 4, 1.0))
    assert terminal.text.count("\n") == 3
    assert terminal.text.endswith("\n")


@pytest.mark.usefixtures("no_ci")
def test_one_training_at_a_time_has_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two trainings the first is drawn; of the other one sees that it has ended."""
    monkeypatch.setattr("pytest_fragility.plugin.progress.REFRESH_SECONDS", 0)
    progress, terminal = display(isatty=True)
    progress.receive("gw0", (0, 4, 0.0))
    progress.receive("gw1", (0, 9, 0.0))
    progress.receive("gw1", (1, 9, 0.1))
    assert "/9" not in terminal.text
    progress.receive("gw1", (9, 9, 1.0))
    assert "] 9/9 networks, 0.0 s   \n" in terminal.text
    progress.receive("gw0", (1, 4, 0.3))
    assert terminal.text.rpartition("\r")[2].startswith("fragility: training [#######")
    progress.forget("gw0")
    assert terminal.text.endswith("\n")


def test_messages_wait_for_no_one() -> None:
    """What comes in while others write is shown when they have written."""
    progress, terminal = display(isatty=False)
    with progress.set_aside():
        thread = Thread(target=progress.receive, args=("gw0", (0, 4, 0.0)))
        thread.start()
        thread.join(timeout=20)
        assert not thread.is_alive()
        assert terminal.text == ""
    assert terminal.text == "fragility: training 4 networks\n"
