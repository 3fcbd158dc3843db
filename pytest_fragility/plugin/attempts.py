"""Runs of tests that stand for a check, and whether the check was judged in them."""

from __future__ import annotations

import unittest
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from pytest_fragility._util.text import error_text
from pytest_fragility.errors import AuditFailure, SettingsError, printable
from pytest_fragility.plugin.asked import asked_check, place_of
from pytest_fragility.plugin.taken_fixtures import plugin_of, source_of, takes_own


class Attempt:
    """One run of a test that stands for a check; a rerun is another one.

    Attributes
    ----------
    is_judged
        Whether the check reached its verdict.
    error
        What the check raised: a verdict that is not kept, or what kept it from its verdict.
    is_running
        Whether the test's function runs.
    is_over
        Whether the test has ended.
    """

    def __init__(self) -> None:
        self.is_judged = False
        self.error: BaseException | None = None
        self.is_running = False
        self.is_over = False

    @contextmanager
    def running(self, item: pytest.Item) -> Iterator[None]:
        """Run the test's function, and raise what it should have ended with."""
        __tracebackhide__ = True
        self.is_running, raised = True, None
        try:
            yield
        except BaseException as error:
            raised = error
            raise
        finally:
            self.is_running, self.is_over = False, True
            self.require_kept(item, raised)

    def run(self, item: pytest.Item, judge: Callable[[], None]) -> None:
        """Judge the check of a test, once; a further call has the same outcome.

        Raises
        ------
        SettingsError
            If the test has ended: the verdict would be nobody's.
        """
        __tracebackhide__ = True
        self.require_running(item)
        if self.is_judged:
            if self.error:
                raise self.error
            return
        self.error = None
        try:
            judge()
        except BaseException as error:
            self.error = error
            raise

    def require_running(self, item: pytest.Item) -> None:
        """Raise a SettingsError where the test has ended."""
        if self.is_over:
            raise SettingsError(
                f"the check of {item.nodeid} was called after that test had ended; a test calls "
                "the check that it takes as an argument"
            )

    def require_kept(self, item: pytest.Item, raised: BaseException | None) -> None:
        """Raise what a test should have ended with, where it ended otherwise.

        Parameters
        ----------
        item
            The test.
        raised
            What it raised.
        """
        if self.is_judged:
            is_hidden = raised is None or isinstance(raised, _SKIPS)
            if self.error is not None and is_hidden and raised is not self.error:
                raise _told_again(self.error) from None
        elif raised is None or isinstance(raised, pytest.xfail.Exception):
            raise pytest.fail.Exception(never_judged(item, self.error), pytrace=False) from None


_SKIPS = (pytest.skip.Exception, unittest.SkipTest)
ATTEMPT_KEY = pytest.StashKey[Attempt]()


def attempt_of(item: pytest.Item) -> Attempt:
    """Return the latest run of a test."""
    return item.stash.setdefault(ATTEMPT_KEY, Attempt())


def _told_again(error: BaseException) -> BaseException:
    """Return an error that a test has swallowed, as it was first raised."""
    if not isinstance(error, AuditFailure):
        return error
    text = (
        "The test swallowed this failure of its check; where it is expected, the marker says so "
        f"with xfail={{...}}\n\n{error}"
    )
    return type(error)(text, error.verdict).with_traceback(error.__traceback__)


def never_judged(item: pytest.Item, error: BaseException | None) -> str:
    """Return which check was never judged, and why that may be."""
    place, asked = place_of(item), asked_check(item)
    assert place
    of_measure = f" of {asked.audit.name}" if asked else ""
    told = f"check {place.check}{of_measure} was never judged"
    if error is not None:
        return printable(f"{told}: the test swallowed what its check raised, {error_text(error)}")
    if asked is None:
        return f"{told}: something in the place of pytest-fragility ran the test"
    comes_from = f"The fixture check that the test got is {source_of(item, 'check')}"
    if takes_own(item, "check"):
        return f"{told}: the test ended without calling check(). {comes_from}"
    plugin = plugin_of(item, "check")
    without = f"leave that plugin out with -p no:{plugin}" if plugin else "give it another name"
    return (
        f"{told}. {comes_from}, which hides pytest-fragility's: {without}. Or have a conftest.py "
        "beside the test say `from pytest_fragility.plugin import check`"
    )
