"""Objects on their way to other processes, with the code that these cannot import."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import cloudpickle

from pytest_fragility._util.installed import is_compiled_module, is_installed_module

OWN_NAME = __name__.partition(".")[0]


def dump(value: Any, code: Iterable[Any]) -> bytes:
    """Return a value as bytes that `pickle.loads` reads in a process that knows no tests.

    Parameters
    ----------
    value
        What is sent.
    code
        Functions and objects in it that may be anybody's: the code of their modules, and of
        modules that these refer to, is sent along, unless they are installed.

    Raises
    ------
    Exception
        Whatever the value raises where it is pickled.
    """
    with _by_value(_modules_of(code)):
        packed: bytes = cloudpickle.dumps(value)
    return packed


def reason_not_to_dump(value: Any) -> str | None:
    """Return why a function cannot be sent to another process, or None where it can."""
    try:
        dump(value, [value])
    # whatever one's own objects raise where they are pickled
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


@contextmanager
def _by_value(modules: set[ModuleType]) -> Iterator[None]:
    known = cloudpickle.list_registry_pickle_by_value()
    added = [module for module in modules if module.__name__ not in known]
    for module in added:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in added:
            cloudpickle.unregister_pickle_by_value(module)


def _modules_of(code: Iterable[Any]) -> set[ModuleType]:
    """Return the modules that others cannot import, from those of the code on to what they use."""
    found: set[ModuleType] = set()
    waiting = list(code)
    while waiting:
        module = _home_of(waiting.pop())
        if module and module not in found and not _is_there(module.__name__):
            found.add(module)
            values = vars(module).values()
            waiting += [each for each in values if callable(each) or isinstance(each, ModuleType)]
    return found


def _home_of(value: Any) -> ModuleType | None:
    if isinstance(value, ModuleType):
        return value
    function = value.func if isinstance(value, functools.partial) else value
    named = function if hasattr(function, "__qualname__") else type(function)
    return sys.modules.get(named.__module__ or "")


def _is_there(module: str) -> bool:
    is_own = module.partition(".")[0] == OWN_NAME
    # machine code cannot be sent
    return is_own or is_installed_module(module) or is_compiled_module(module)
