"""Which check a test stands for: carried along, so that nothing is read off the ids of tests."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from pytest_fragility.plugin.help import MARKER

if TYPE_CHECKING:
    from pytest_fragility.plugin.marked import MarkedAudit

# an attribute of test reports, which workers send along
ASKED = "fragility_asked"


@dataclass(frozen=True, eq=False)
class AskedCheck:
    """The parameter of the ``check`` fixture.

    Parameters
    ----------
    audit
        What the test's marker asks for.
    check_id
        Which of its checks.
    """

    audit: MarkedAudit = field(repr=False)
    check_id: str


@dataclass(frozen=True)
class CheckPlace:
    """Where a check of a test belongs.

    Parameters
    ----------
    key
        What the session and baselines call the audit.
    audit
        What reports call it: the test without its parameters, or what the command line named.
    case
        The check, with the other parameters of its test.
    check
        Its id.
    """

    key: str
    audit: str
    case: str
    check: str


# of items that are no test functions
PLACE_KEY = pytest.StashKey[CheckPlace]()


def asked_check(item: pytest.Item) -> AskedCheck | None:
    """Return what a test's ``check`` fixture is asked for; None where it takes none of ours."""
    callspec = getattr(item, "callspec", None)
    asked = callspec.params.get("check") if callspec else None
    return asked if isinstance(asked, AskedCheck) else None


def key_of(item: pytest.Item) -> str:
    """Return what the session calls the audit of a test: the test without its parameters.

    Where the marker is that of a parameter, the audit is of this one case.
    """
    callspec = getattr(item, "callspec", None)
    if callspec and any(mark.name == MARKER for mark in callspec.marks):
        return item.nodeid
    parent = item.parent.nodeid if item.parent else ""
    return f"{parent}::{getattr(item, 'originalname', item.name)}"


def place_of(item: pytest.Item) -> CheckPlace | None:
    """Return where the check that a test stands for belongs; None where it stands for none."""
    asked = asked_check(item)
    if asked is None:
        return item.stash.get(PLACE_KEY, None)
    key, callspec = key_of(item), item.callspec  # type: ignore[attr-defined]
    return CheckPlace(key, key, callspec.id, asked.check_id)
