"""The ``fragility`` marker: what `pytest.mark` holds under this name, and its line of help."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from pytest_fragility.settings.option import FLAG, MARK, Option
from pytest_fragility.settings.options import SETTINGS

MARKER = "fragility"
# the line of help shows these arguments last, and the others before, as the table has them
_LAST = (
    *("budget", "measure_timeout", "alpha", "scale", "fit", "profile", "device", "cache_dir"),
    *("table", "manifest", "family"),
)
# the other ways to say what a recipe says
_NOT_SHOWN = ("architecture", "architectures")


def marker_help() -> str:
    """Return what ``pytest --markers`` shows."""
    place = {name: place for place, name in enumerate(_LAST)}
    shown = [each for each in SETTINGS if MARK in each.on and each.name not in _NOT_SHOWN]
    shown.sort(key=lambda option: place.get(option.name, -1))
    return (
        f"{MARKER}(measure, *, name=None, xfail=None, {', '.join(map(_argument, shown))}): "
        "audit a generalization measure for fragility, one test per check"
    )


def _argument(option: Option) -> str:
    """Return an argument with its default, but for what --help shows or depends on others."""
    default = option.default
    depends = default is None and option.takes != "seconds"
    is_elsewhere = isinstance(default, str) and FLAG in option.on
    return f"{option.name}={'...' if depends or is_elsewhere else repr(default)}"


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
