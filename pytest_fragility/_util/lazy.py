"""Mappings whose values are worked out when they are first asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import TypeVar

Value = TypeVar("Value")


class OnDemand(Mapping[str, Value]):
    """Values by name, each computed when it is first asked for.

    Parameters
    ----------
    what
        What error messages call a name.
    names
        All there are.
    compute
        Maps a name to its value; called once for each, and what it raises is raised each time.
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
