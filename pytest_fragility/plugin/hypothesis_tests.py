"""Tests that Hypothesis runs: their strategies, and how long they may take."""

from __future__ import annotations

import inspect
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest


# fixtures whose values are the same for all examples
LASTING = {"trained_family", "learning_curves"}
_SETTINGS = "_hypothesis_internal_use_settings"


def given_strategies(item: pytest.Item) -> list[object]:
    """Return the strategies of a test that Hypothesis runs; none where the package's are unused."""
    handle = _handle(item)
    if handle is None or "pytest_fragility.strategies" not in sys.modules:
        return []
    return list(getattr(handle, "_given_kwargs", {}).values())


def lift_deadline(item: pytest.Item) -> None:
    """Let a test of trained networks take its time, where it has no settings of its own.

    Hypothesis expects an example to take 200 ms; one that trains a network takes longer the first
    time, and not the second, which would be reported as flaky.
    """
    if _handle(item) is None:
        return
    from hypothesis import HealthCheck, settings
    from hypothesis.errors import InvalidArgument

    patient = settings(
        deadline=None,
        suppress_health_check=[*settings().suppress_health_check, HealthCheck.too_slow],
    )
    try:
        patient(item.function)  # type: ignore[attr-defined]
    except InvalidArgument:
        # it has settings of its own, or was seen before with other parameters
        return


def let_fixtures_last(item: pytest.Item) -> None:
    """Let a test take networks beside ``@given``.

    Hypothesis complains of fixtures that are made for a test, and not for each of its examples.
    These are the same for all of them. Of any other it still complains.
    """
    function = getattr(item, "function", None)
    own = getattr(function, _SETTINGS, None)
    if _handle(item) is None or own is None:
        return
    from hypothesis import HealthCheck, settings

    names = inspect.signature(function).parameters  # type: ignore[arg-type]
    known = [item.session._fixturemanager.getfixturedefs(name, item) for name in names]
    # the last one is the nearest; parameters have none
    taken = [definitions[-1] for definitions in known if definitions]
    if all(each.scope != "function" or _lasts(each) for each in taken):
        allowed = {*own.suppress_health_check, HealthCheck.function_scoped_fixture}
        # as Hypothesis's own plugin changes settings of a test that has some
        setattr(function, _SETTINGS, settings(own, suppress_health_check=allowed))


def _lasts(definition: Any) -> bool:
    from pytest_fragility.plugin.taken_fixtures import is_own

    return definition.argname in LASTING and is_own(definition, definition.argname)


def _handle(item: pytest.Item) -> Any:
    return getattr(getattr(item, "obj", None), "hypothesis", None)
