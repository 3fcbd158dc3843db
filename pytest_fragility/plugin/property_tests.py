"""Tests that Hypothesis runs: their strategies, and how long they may take."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest


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


def _handle(item: pytest.Item) -> Any:
    return getattr(getattr(item, "obj", None), "hypothesis", None)
