"""What audits write to the terminal: harmless, wherever the text has come from."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from pytest_fragility.errors import harmless
from pytest_fragility.plugin.mark import MARKER


def write_text(terminalreporter: Any, text: str) -> None:
    """Write a text and a line break."""
    terminalreporter.write_line(harmless(text))


class HarmlessFailures:
    """Has the failures of audits, tracebacks of measures among them, hold no command."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, Any, Any]:
        """Go through what pytest has made of an exception."""
        report = yield
        if report.failed and (item.get_closest_marker(MARKER) or _is_own(call)):
            _make_harmless(report.longrepr)
        return report


def _is_own(call: pytest.CallInfo[None]) -> bool:
    """Return whether the package has raised it, in a test of any kind."""
    from pytest_fragility.errors import AuditFailure, FragilityError

    return bool(call.excinfo and isinstance(call.excinfo.value, AuditFailure | FragilityError))


def _make_harmless(longrepr: Any) -> None:
    shown = getattr(longrepr, "reprtraceback", None), getattr(longrepr, "reprcrash", None)
    for traceback, crash in [shown, *(part[:2] for part in getattr(longrepr, "chain", ()))]:
        for entry in getattr(traceback, "reprentries", ()):
            entry.lines = [harmless(line) for line in entry.lines]
            given, values = getattr(entry, "reprfuncargs", None), getattr(entry, "reprlocals", None)
            if given:
                given.args = [(name, harmless(value)) for name, value in given.args]
            if values:
                values.lines = [harmless(line) for line in values.lines]
        if crash:
            crash.message = harmless(crash.message)
