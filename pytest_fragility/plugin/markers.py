"""What a ``fragility`` marker asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from pytest_fragility._util.text import shown
from pytest_fragility.checks.check import Check, Needs
from pytest_fragility.checks.kind import SEARCH
from pytest_fragility.checks.registry import kind_of, match_expected_failures, needs_of
from pytest_fragility.errors import SettingsError
from pytest_fragility.perturbations import BASELINE
from pytest_fragility.plugin.mark import MARKER
from pytest_fragility.settings.audit_settings import AuditSettings
from pytest_fragility.settings.idle import require_use
from pytest_fragility.settings.naming import name_in_audit
from pytest_fragility.settings.option import MARK, RUN, TRAINING, WHAT, WHERE
from pytest_fragility.settings.options import (
    MANIFEST,
    OPTIONS,
    SOURCES,
    TABLE,
    settings_that_say,
)
from pytest_fragility.settings.resolving import require_known_options, resolve_settings

# what a marker takes beside an audit's settings
ALSO = tuple(option.name for option in OPTIONS if MARK in option.on and option.says == RUN)
# what a marker may say for the tests of a class, and means nothing to one that names a table; what
# a manifest's names stand for does
OF_TRAINED = {*settings_that_say(WHAT, TRAINING, WHERE)} - {"architectures"}
EXECUTOR_TIMEOUT = "executor_timeout"


@dataclass(frozen=True, eq=False)
class MarkedAudit:
    """An audit that a test, or the command line, asks for.

    Parameters
    ----------
    measure
        A function of one `TrainedNetwork`, or a table's column; None where a hand-written test
        brings its own.
    name
        What reports call it.
    settings
        What is asked.
    expected_failures
        Patterns of check ids with the reason why they fail.
    """

    measure: Callable[..., Any] | str | None
    name: str | None
    settings: AuditSettings
    expected_failures: Mapping[str, str]

    @cached_property
    def checks(self) -> dict[str, Check]:
        """The audit's checks by id."""
        return {check.id: check for check in self.settings.checks}

    @cached_property
    def xfail_reasons(self) -> dict[str, str]:
        """Why a check is expected to fail, by check id.

        Raises
        ------
        SettingsError
            If a pattern matches no check.
        """
        return match_expected_failures(dict(self.expected_failures), list(self.checks.values()))

    @property
    def own_recipes(self) -> list[str]:
        """What a test of one's own design sees: the baseline, and the perturbations it names."""
        return [BASELINE, *self.settings.perturbations]

    def stages(self, check_id: str) -> bool:
        """Return whether a check is looked at with growing numbers of seeds."""
        return bool(self.settings.looks) and kind_of(self.checks[check_id]).rests_on != SEARCH

    def needs_of(self, check_id: str | None) -> Needs:
        """Return the networks that a check needs; None stands for a test of one's own design."""
        if check_id is None:
            return Needs(frozenset(self.own_recipes), with_ladder=True, with_equivalents=True)
        return needs_of(self.checks[check_id])


def require_one_marker(test: pytest.Item) -> None:
    """Raise a SettingsError where a test has several markers, and one says what is left out.

    The nearest goes before those of its class and module, as for any marker of pytest's.
    """
    (nearest_owner, nearest), *others = test.iter_markers_with_node(MARKER)
    said, has_measure = set(nearest.kwargs), bool(nearest.args) or "measure" in nearest.kwargs
    bound = {"name", "xfail"} if has_measure else set()
    if said & set(SOURCES):
        bound |= {*SOURCES, *OF_TRAINED}
    for owner, mark in others:
        if not mark.args and not mark.kwargs:
            # a bare marker says nothing that could be left out
            continue
        if owner is nearest_owner:
            raise SettingsError(
                f"two fragility markers on {owner.name}, of which only one would count; say all in "
                "one, and mark one test per measure"
            )
        if not nearest.args and not nearest.kwargs:
            # a bare marker takes a test out of what its class or module asks for
            continue
        if (mark.args or "measure" in mark.kwargs) and not has_measure:
            raise SettingsError(
                f"the marker of {owner.name} names a measure, and this test's own marker, which "
                "goes before it, names none; name it there too"
            )
        dropped = [name for name in mark.kwargs if name not in {"measure", *said, *bound}]
        if dropped:
            raise SettingsError(
                f"the marker of {owner.name} says {dropped[0]}=, and this test's own marker, which "
                "goes before it, does not; say it there too"
            )


def read_marker(
    mark: pytest.Mark | None, *layers: Mapping[str, Any], folder: Path | None = None
) -> MarkedAudit:
    """Return what a marker asks for.

    Parameters
    ----------
    mark
        None asks for nothing of its own.
    *layers
        The settings that it may override.
    folder
        From which it names tables and manifests.

    Raises
    ------
    SettingsError
        If an argument is unknown or cannot be used.
    """
    args = mark.args if mark else ()
    options = dict(mark.kwargs) if mark else {}
    if len(args) > 1:
        raise SettingsError(
            f"fragility takes one measure, got {len(args)}; mark one test per measure"
        )
    require_known_options(options, ALSO)
    if options.get(EXECUTOR_TIMEOUT) is not None:
        raise SettingsError(
            f"{EXECUTOR_TIMEOUT}: all audits of a session share its executors; give it on the "
            "command line or in the configuration file"
        )
    for source in (TABLE, MANIFEST):
        if folder and isinstance(options.get(source), str):
            options[source] = folder / options[source]
    if args and "measure" in options:
        raise SettingsError("fragility: the measure is given twice")
    measure = args[0] if args else options.pop("measure", None)
    options.pop("measure", None)
    name, expected = options.pop("name", None), options.pop("xfail", None) or {}
    if not isinstance(expected, Mapping) or not all(
        isinstance(part, str) for item in expected.items() for part in item
    ):
        raise SettingsError(f"xfail={shown(expected)}: expected a dict from check ids to reasons")
    settings = resolve_settings(options, *layers)
    # a budget is also for what tests train on demand, and for --fragility-locate
    require_use({**options, "budget": None}, settings)
    if measure is not None:
        name = name_in_audit(measure, name, settings)
    elif name is not None or expected:
        raise SettingsError(
            f"{'name' if name is not None else 'xfail'}= is about a measure, and the marker names "
            "none"
        )
    return MarkedAudit(measure, name, settings, expected)
