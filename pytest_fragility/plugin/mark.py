"""``@pytest.mark.fragility(measure)``: a marker whose first argument is a function.

pytest takes a marker that is called with nothing but one function for a bare decorator, marks that
function and hands it back, so that the measure itself would be called on the test. Here the
function is what it reads like, an argument.
"""

from __future__ import annotations

from typing import Any

import pytest

from pytest_fragility.plugin.help import MARKER


class FragilityMark:
    """What ``pytest.mark.fragility`` is.

    Parameters
    ----------
    plain
        pytest's own marker of this name.
    """

    def __init__(self, plain: pytest.MarkDecorator) -> None:
        self._plain = plain

    @property
    def mark(self) -> pytest.Mark:
        """The marker without arguments: ``pytestmark = pytest.mark.fragility``."""
        return self._plain.mark

    def with_args(self, *args: object, **kwargs: object) -> pytest.MarkDecorator:
        """Return the marker with these arguments."""
        return self._plain.with_args(*args, **kwargs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return the marker with these arguments, or mark a test where used without parentheses."""
        if len(args) == 1 and not kwargs and _is_test(args[0]):
            return self._plain(args[0])
        return self.with_args(*args, **kwargs)


def _is_test(candidate: Any) -> bool:
    """Tell a test from a measure: pytest's tests are called test, and no measure is."""
    return getattr(candidate, "__name__", "").lower().startswith("test")


def install_mark() -> None:
    """Put the marker in its place; done once a process."""
    if MARKER not in vars(pytest.mark):
        setattr(pytest.mark, MARKER, FragilityMark(getattr(pytest.mark, MARKER)))
