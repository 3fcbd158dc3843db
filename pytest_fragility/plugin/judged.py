"""A green test means a verdict: whether a test's own check was judged in this run of it."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import asdict
from typing import Any

import pytest

from pytest_fragility.plugin.asked import ASKED, place_of
from pytest_fragility.plugin.attempts import ATTEMPT_KEY, Attempt, attempt_of
from pytest_fragility.plugin.tested_check import forget_findings

NOT_EXPECTED = (
    "The check of this test reached no verdict. What is expected of it is a verdict that is not "
    "kept: no other failure counts as expected."
)


class JudgedTests:
    """Has every test fail that stands for a check and ends without its verdict."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Forget what an earlier run of the test has found."""
        if place_of(item):
            item.stash[ATTEMPT_KEY] = Attempt()
            forget_findings(item)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Correct how a test ended, for those too who make its report in a way of their own."""
        if place_of(item) is None:
            return (yield)
        with attempt_of(item).running(item):
            return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[Any]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Correct what others made of it, before anybody has looked; say which check it was."""
        place = place_of(item)
        if place is None:
            return (yield)
        attempt = attempt_of(item)
        raised = call.excinfo.value if call.excinfo else None
        # while a test runs, the reports are those of its subtests
        has_ended = call.when == "call" and not attempt.is_running
        ends_here = has_ended or (call.when == "setup" and raised is not None)
        if ends_here:
            attempt.is_over = True
            corrected = pytest.CallInfo.from_call(
                lambda: attempt.require_kept(item, raised), when=call.when
            )
            call.excinfo = corrected.excinfo or call.excinfo
        report = yield
        if ends_here and not attempt.is_judged and hasattr(report, "wasxfail"):
            del report.wasxfail
            report.outcome = "failed"
            report.sections.append(("pytest-fragility", NOT_EXPECTED))
        setattr(report, ASKED, asdict(place))
        return report
