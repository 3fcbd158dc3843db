"""``@pytest.mark.fragility(measure)``: a marker whose first argument is a function.

pytest takes a marker that is called with nothing but one function for a bare decorator, marks that
function and hands it back, so that the measure itself would be called on the test. Here the
function is what it reads like, an argument.
"""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from pytest_fragility.plugin.help import MARKER

FIXTURES = {"check", "trained_family", "learning_curves", "fragility"}


class FragilityMark(pytest.MarkDecorator):
    """What ``pytest.mark.fragility`` is.

    Parameters
    ----------
    plain
        pytest's own marker of this name.
    """

    def __init__(self, plain: pytest.MarkDecorator) -> None:
        super().__init__(plain.mark, _ispytest=True)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return the marker with these arguments, or mark a test where used without parentheses."""
        if len(args) == 1 and not kwargs and _is_test(args[0]):
            return super().__call__(args[0])
        return self.with_args(*args, **kwargs)


def _is_test(candidate: Any) -> bool:
    """Tell a test from a measure, by its parameters and its name."""
    if inspect.isclass(candidate):
        return True
    if not inspect.isfunction(candidate):
        return False
    parameters = list(inspect.signature(candidate).parameters)
    if parameters == ["network"]:
        return False
    return candidate.__name__.startswith("test") or bool(FIXTURES & set(parameters))


def install_mark() -> None:
    """Put the marker in its place; done once a process."""
    if MARKER not in vars(pytest.mark):
        setattr(pytest.mark, MARKER, FragilityMark(getattr(pytest.mark, MARKER)))


def heeds_marks(config: pytest.Config) -> bool:
    """Return whether markers skip tests, or expect them to fail: a plugin of pytest's does that."""
    return config.pluginmanager.has_plugin("skipping")
