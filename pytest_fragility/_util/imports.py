"""Functions that are named by where they stand: ``module:function``."""

from __future__ import annotations

from importlib import import_module, util
from operator import attrgetter
from typing import Any

from pytest_fragility._util.text import error_text, one_line, shown
from pytest_fragility.errors import SettingsError


def load(place: str, option: str) -> Any:
    """Return what stands at ``module:function``, or ``module:measure.bound_form``.

    A SettingsError says that there is no such module or function, or that the package around it
    raises; `option` is what named the place.
    """
    require_module(place, option)
    module_name, _, function = place.partition(":")
    try:
        module = import_module(module_name)
    except (KeyboardInterrupt, Exception):
        raise
    # a module that ends the process, or skips what imports it
    except BaseException as error:
        raise SettingsError(
            f"{option}={one_line(place)}: its module raised {error_text(error)}"
        ) from error
    try:
        return attrgetter(function)(module)
    except AttributeError:
        raise SettingsError(
            f"{option}={one_line(place)}: module {module_name} has no {shown(function)}"
        ) from None


def require_module(place: str, option: str) -> None:
    """Raise a SettingsError where ``module:function`` names no module; nothing is imported."""
    module_name, _, function = place.partition(":")
    parts = [*module_name.split("."), *function.split(".")]
    if not all(part.isidentifier() for part in parts):
        raise SettingsError(f"{option}={one_line(place)}: expected MODULE:FUNCTION")
    try:
        found = util.find_spec(module_name)
    except (ImportError, ValueError):
        found = None
    # the package around a module is imported to find it, and may do anything
    except Exception as error:
        raise SettingsError(
            f"{option}={one_line(place)}: its package raised {error_text(error)}"
        ) from error
    if found is None:
        raise SettingsError(
            f"{option}={one_line(place)}: no module named {shown(module_name)}; "
            "is its folder on the path (python -m pytest adds the current one)?"
        )
