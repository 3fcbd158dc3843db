"""``--fragility-init``, and the hint at it where a run has nothing to audit."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from pytest_fragility.plugin.command_line import measures_to_audit
from pytest_fragility.plugin.hypothesis_tests import given_strategies
from pytest_fragility.plugin.mark import FIXTURES, MARKER
from pytest_fragility.plugin.terminal import write_text
from pytest_fragility.plugin.workers import is_worker

NAME = "test_fragility.py"
TEMPLATE = "starter.txt"
HINT = (
    "fragility: no test is marked fragility, and no measure is named. Begin with",
    "pytest --fragility-init, or with --fragility-measure=MODULE:FUNCTION",
)

# a worker's own, to the process that has the terminal
AUDITS_KEY = "fragility_has_audits"
ENDED = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED)


def write_starter(config: pytest.Config) -> pytest.ExitCode:
    """Write a starter test into the current folder, and say how to run it.

    Raises
    ------
    pytest.UsageError
        If there is such a file, or it cannot be written.
    """
    path = Path(config.invocation_params.dir) / NAME
    text = resources.files("pytest_fragility.plugin").joinpath(TEMPLATE).read_text("utf-8")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise pytest.UsageError(
            f"fragility: {NAME} is there already, and is left as it is. Run it with pytest "
            f"--fragility {NAME}, or go to another folder"
        ) from None
    except OSError as error:
        raise pytest.UsageError(f"fragility: cannot write {NAME}: {error}") from error
    print(f"fragility: {NAME} written. Run it: pytest --fragility {NAME}")
    return pytest.ExitCode.OK


class StarterHint:
    """Says how to begin where a run has nothing to audit.

    Parameters
    ----------
    config
        pytest's configuration.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._has_audits = bool(measures_to_audit(config))
        # where the configuration file switches audits on, many runs have none
        self._is_asked = bool(config.getoption("fragility"))

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Note whether there are audits, before any of them is deselected."""
        self._has_audits |= any(_audits(item) for item in items)

    def pytest_sessionfinish(self) -> None:
        """Send what a worker has seen to the process that has the terminal."""
        if is_worker(self._config):
            self._config.workeroutput[AUDITS_KEY] = self._has_audits  # type: ignore[attr-defined]

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Note what a worker has seen; one that ended early may have seen anything."""
        self._has_audits |= getattr(node, "workeroutput", {}).get(AUDITS_KEY, True)

    def pytest_terminal_summary(self, terminalreporter: Any, exitstatus: int) -> None:
        """Write the hint."""
        is_quiet = self._config.get_verbosity() < 0
        if self._has_audits or not self._is_asked or exitstatus not in ENDED or is_quiet:
            return
        for line in HINT:
            write_text(terminalreporter, line)


def _audits(item: pytest.Item) -> bool:
    """Return whether a test audits a measure, or asks for networks."""
    is_marked = item.get_closest_marker(MARKER) is not None
    uses_fixtures = bool((FIXTURES - {"check"}) & set(getattr(item, "fixturenames", ())))
    return is_marked or uses_fixtures or bool(given_strategies(item))
