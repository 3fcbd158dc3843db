"""Mappings whose values are worked out when they are first asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
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
        Maps a name to its value; called once for each.
    """

    def __init__(self, what: str, names: Sequence[str], compute: Callable[[str], Value]) -> None:
        self._what = what
        self._names = list(names)
        self._compute = compute
        self._known: dict[str, Value] = {}

    def __getitem__(self, name: str) -> Value:
        if name not in self._names:
            raise KeyError(f"no {self._what} {name!r}; there are {', '.join(self._names)}")
        if name not in self._known:
            self._known[name] = self._compute(name)
        return self._known[name]

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
