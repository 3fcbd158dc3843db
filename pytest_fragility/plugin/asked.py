"""Which check a test stands for: carried along, so that nothing is read off the ids of tests."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_fragility.plugin.mark import MARKER

if TYPE_CHECKING:
    from pytest_fragility.plugin.markers import MarkedAudit

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

    Where a case of the test has a marker of its own, the audit is of this one case.
    """
    file, names = file_from(item, item.config.rootpath), names_in_file(item)
    if not _is_of_case(item):
        names[-1] = getattr(item, "originalname", item.name)
    return "::".join([file, *names])


def file_from(item: pytest.Item, folder: Path) -> str:
    """Return the file of a test as seen from a folder.

    The ids of tests begin with it, but not where the file lies outside of pytest's rootdir.
    """
    try:
        return Path(os.path.relpath(item.path, folder)).as_posix()
    except ValueError:
        # on another drive
        return item.path.as_posix()


def names_in_file(item: pytest.Item) -> list[str]:
    """Return the names of a test's classes, and its own."""
    outer = (pytest.Session, pytest.Directory, pytest.File)
    return [node.name for node in item.listchain() if not isinstance(node, outer)]


def _is_of_case(item: pytest.Item) -> bool:
    mark = item.get_closest_marker(MARKER)
    shared = [each for node in item.listchain()[:-1] for each in node.own_markers]
    shared += getattr(getattr(item, "obj", None), "pytestmark", ())
    return mark is not None and not any(mark is each for each in shared)


def place_of(item: pytest.Item) -> CheckPlace | None:
    """Return where the check that a test stands for belongs; None where it stands for none."""
    asked = asked_check(item)
    if asked is None:
        return item.stash.get(PLACE_KEY, None)
    key, callspec = key_of(item), item.callspec  # type: ignore[attr-defined]
    return CheckPlace(key, key, callspec.id, asked.check_id)
