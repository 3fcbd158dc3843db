"""What is loaded or worked out when it is first asked for: names of a package, values by name."""

from __future__ import annotations

import dis
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module
from types import TracebackType
from typing import Any, TypeVar

Value = TypeVar("Value")

# what a lazy package needs itself, and `dir` does not show
_OF_FACES = {"TYPE_CHECKING", "annotations", "lazy_face"}


def lazy_face() -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` for the package that calls this.

    What it imports for type checkers alone, under ``TYPE_CHECKING``, is loaded when it is first
    used. Python never runs these lines, but compiles them: the names are read off there, so that
    each of them is written once.
    """
    frame = sys._getframe(1)
    held, code = frame.f_globals, frame.f_code

    @cache
    def homes() -> dict[str, str]:
        found, home = {}, ""
        for each in dis.get_instructions(code):
            if each.opname == "IMPORT_NAME":
                home = str(each.argval)
            elif each.opname == "IMPORT_FROM" and home.startswith("pytest_fragility."):
                found[str(each.argval)] = home
        return {name: home for name, home in sorted(found.items()) if home != __name__}

    def load(name: str) -> Any:
        if name == "__all__":
            return list(homes())
        if name not in homes():
            raise AttributeError(f"module {held['__name__']!r} has no attribute {name!r}")
        return getattr(import_module(homes()[name]), name)

    return load, lambda: sorted({*held.keys() - _OF_FACES, *homes()})


class OnDemand(Mapping[str, Value]):
    """Values by name, each computed when it is first asked for, and once; what that raises too.

    Error messages call a name `what`.
    """

    def __init__(self, what: str, names: Sequence[str], compute: Callable[[str], Value]) -> None:
        self._what = what
        self._names = list(names)
        self._compute = compute
        self._known: dict[str, Value] = {}
        self._failures: dict[str, tuple[Exception, TracebackType | None]] = {}

    @property
    def known(self) -> list[str]:
        """The names whose values have been asked for."""
        return list(self._known)

    def __getitem__(self, name: str) -> Value:
        if name not in self._names:
            raise KeyError(f"no {self._what} {name!r}; there are {', '.join(self._names)}")
        if name in self._failures:
            error, traceback = self._failures[name]
            raise error.with_traceback(traceback)
        if name not in self._known:
            try:
                self._known[name] = self._compute(name)
            except Exception as error:
                self._failures[name] = error, error.__traceback__
                raise
        return self._known[name]

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
