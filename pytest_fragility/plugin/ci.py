"""GitHub Actions: the job's summary, and annotations of checks that are not kept."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from _pytest.junitxml import xml_key

from pytest_fragility._util.text import error_text
from pytest_fragility.checks.records import verdict_of
from pytest_fragility.checks.registry import kind_of
from pytest_fragility.checks.verdicts import BROKEN, KEPT, Record
from pytest_fragility.errors import printable
from pytest_fragility.plugin.gathering import Gathering, asked_of, message_of, records_of
from pytest_fragility.plugin.terminal import write_text
from pytest_fragility.report.failure_message import failure_message, headline
from pytest_fragility.report.markdown import markdown_summary
from pytest_fragility.report.unjudged import unjudged_note

# GitHub takes no longer summary of a step
MOST_BYTES = 1024 * 1024 - 1


def runs_on_github(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether this process is a step of a GitHub workflow."""
    return environment.get("GITHUB_ACTIONS") == "true"


class GitHubOutput:
    """Appends to the job's summary, and writes a workflow command per check that is not kept.

    Parameters
    ----------
    config
        pytest's configuration.
    gathering
        What has gathered the reports.
    """

    def __init__(self, config: pytest.Config, gathering: Gathering) -> None:
        self._config = config
        self._gathering = gathering
        self._annotations: list[str] = []
        self._failure = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a check that is not kept and was not expected to fail, or that was not judged."""
        if report.when == "teardown" or not report.failed:
            return
        records, place = records_of(report), self._place(report)
        for record in records:
            if record["verdict"] != KEPT:
                self._annotations.append(annotation(record, place))
        if asked_of(report) and not records:
            title = f"{asked_of(report)['check']} reached no verdict"
            self._annotations.append(_command("error", place, title, message_of(report)))

    def pytest_sessionfinish(self) -> None:
        """Append the audits to the job's summary."""
        path = os.environ.get("GITHUB_STEP_SUMMARY")
        audits, note = self._gathering.audits, unjudged_note(self._gathering.unjudged)
        if not path or not (audits or note):
            return
        records, errors = [a.records for a in audits], [len(a.errors) for a in audits]
        try:
            with Path(path).open("a", encoding="utf-8") as file:
                text = markdown_summary(records, errors, note=note)
                if file.tell() + len(text.encode()) > MOST_BYTES:
                    text = markdown_summary(records, errors, note=note, details=False)
                file.write(text)
        except OSError as error:
            self._failure = f"fragility: cannot append to the job's summary: {error_text(error)}"

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Write the workflow commands, each on a line of its own."""
        for line in self._annotations:
            terminalreporter.write_line(line)
        if self._failure:
            write_text(terminalreporter, self._failure)

    def _place(self, report: pytest.TestReport) -> dict[str, str]:
        """Return file and line of a test, as seen from the workspace; nothing without a file."""
        name, line, _ = report.location
        path = Path(os.path.normpath(self._config.rootpath / name))
        if not path.is_file():
            return {}
        workspace = Path(os.environ.get("GITHUB_WORKSPACE", self._config.rootpath))
        shown = path.relative_to(workspace) if path.is_relative_to(workspace) else path
        return {"file": shown.as_posix(), "line": str((line or 0) + 1)}


def annotation(record: Record, place: Mapping[str, str]) -> str:
    """Return the workflow command that shows a check beside its test: an error if it is broken.

    Parameters
    ----------
    record
        What the check found.
    place
        The command's ``file`` and ``line``; may be empty.
    """
    level = "error" if record["verdict"] == BROKEN else "warning"
    return _command(level, place, headline(record), failure_message(record))


def _command(level: str, place: Mapping[str, str], title: str, text: str) -> str:
    properties = {**place, "title": title}
    named = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    return f"::{level} {named}::{_data(text)}"


def _data(text: str) -> str:
    escaped = printable(text).replace("%", "%25")
    return escaped.replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


NO_VERDICT = "no verdict"


class JunitProperties:
    """Puts a check's findings into JUnit XML, beside the record, one property each.

    Parameters
    ----------
    gathering
        What has gathered the reports.
    """

    def __init__(self, gathering: Gathering) -> None:
        self._gathering = gathering

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add the properties to the report that JUnit XML takes them from."""
        if report.when == "teardown":
            records, asked = records_of(report), asked_of(report)
            for record in records:
                report.user_properties += readable_properties(record)
            if asked and not records:
                report.user_properties += [
                    ("fragility_check", asked["check"]),
                    ("fragility_verdict", NO_VERDICT),
                ]

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Add to the whole suite how many tests reached no verdict, before the file is written."""
        xml = session.config.stash.get(xml_key, None)
        if xml:
            xml.add_global_property("fragility_unjudged", str(len(self._gathering.unjudged)))


def readable_properties(record: Record) -> list[tuple[str, object]]:
    """Return names and values; those that the check does not have are left out."""
    found = {
        "measure": record["measure"],
        "task": record["task"],
        "check": record["check"],
        "verdict": verdict_of(record),
        "seeds": str(len(record["seeds"])),
    }
    found |= {name: str(number) for name, number in kind_of(record).quantities(record).items()}
    return [(f"fragility_{name}", value) for name, value in found.items()]
