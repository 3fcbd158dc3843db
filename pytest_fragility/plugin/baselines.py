"""``--fragility-save`` and ``--fragility-compare``: baselines under version control."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_fragility.plugin.command_line import said, typed_value
from pytest_fragility.plugin.terminal import write_text
from pytest_fragility.settings.options import BY_NAME

if TYPE_CHECKING:
    from pytest_fragility.baselines import Baseline
    from pytest_fragility.checks.verdicts import Record
    from pytest_fragility.plugin.gathering import Gathering

    pass


def uses_baselines(config: pytest.Config) -> bool:
    """Return whether the command line names a baseline."""
    return any(typed_value(config, option) is not None for option in ("save", "compare"))


def path_of(config: pytest.Config, option: str) -> Path | None:
    """Return the file of the baseline that an option names; None where it names none.

    Raises
    ------
    SettingsError
        If the name cannot be used.
    """
    from pytest_fragility.baselines import baseline_path

    name = typed_value(config, option)
    if name is None:
        return None
    folder = said(config, "baselines") or BY_NAME["baselines"].default
    return baseline_path(config.rootpath / folder, name)


def compared_baseline(config: pytest.Config) -> tuple[str, Baseline] | None:
    """Return name and content of the baseline that a run is compared with; None without one.

    Raises
    ------
    SettingsError
        If there is none, or it is damaged.
    """
    from pytest_fragility.baselines import read_baseline

    path = path_of(config, "compare")
    return None if path is None else (path.stem, read_baseline(path))


class BaselineKeeper:
    """Says how a run compares with a baseline, and saves one; in the process that has all reports.

    Parameters
    ----------
    config
        pytest's configuration.
    gathering
        What has gathered the reports.

    Raises
    ------
    SettingsError
        If a name cannot be used, or a baseline is missing or damaged.
    """

    def __init__(self, config: pytest.Config, gathering: Gathering) -> None:
        from pytest_fragility._util.files import is_there
        from pytest_fragility.baselines import read_baseline

        self._gathering = gathering
        self._compared = compared_baseline(config)
        self._path = path_of(config, "save")
        self._saved: Baseline = {}
        if self._path and is_there(self._path):
            self._saved = read_baseline(self._path)
        self._lines: list[str] = []
        self._failure = ""

    @property
    def _records(self) -> list[Record]:
        return [record for audit in self._gathering.audits for record in audit.records]

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the baseline that is to be saved, if any check ran."""
        from pytest_fragility._util.text import error_text, one_line
        from pytest_fragility.baselines import update, write_baseline
        from pytest_fragility.baselines.words import update_lines

        if self._path is None:
            return
        if not self._records:
            self._lines = [f"baseline {self._path.stem}: nothing to save, since no check ran"]
            return
        shown = one_line(os.path.relpath(self._path, session.config.invocation_params.dir))
        updated = update(self._saved, self._records)
        try:
            write_baseline(self._path, updated.baseline)
        except OSError as error:
            self._failure = f"fragility: cannot save baseline {shown}: {error_text(error)}"
            session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED
            return
        self._lines = update_lines(self._path.stem, shown, updated)

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Write how the run compares, and what was saved; under ``-q`` only that saving failed."""
        from pytest_fragility.baselines import compare
        from pytest_fragility.baselines.words import comparison_lines

        lines = list(self._lines)
        if self._compared and self._records:
            name, baseline = self._compared
            lines = [*comparison_lines(name, compare(baseline, self._records)), *lines]
        if lines and terminalreporter.config.get_verbosity() >= 0:
            terminalreporter.write_sep("=", "fragility baseline")
            for line in lines:
                write_text(terminalreporter, line)
        if self._failure:
            write_text(terminalreporter, self._failure)
