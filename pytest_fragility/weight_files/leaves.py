"""What stands in nested dicts and lists, such as a checkpoint's tensors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Leaf:
    """What stands in a container: its keys from the outermost one on, its container, itself."""

    path: tuple[str, ...]
    container: int
    value: Any


def leaves(content: Any, deepest: int = 12) -> Iterator[Leaf]:
    """Return what stands in nested dicts, lists and tuples; each container is looked into once."""
    waiting: list[tuple[tuple[str, ...], Any]] = [((), content)]
    seen: dict[int, int] = {}
    while waiting:
        path, container = waiting.pop()
        if id(container) in seen:
            continue
        place = seen[id(container)] = len(seen)
        inner: list[tuple[tuple[str, ...], Any]] = []
        is_mapping = isinstance(container, dict)
        for key, value in container.items() if is_mapping else enumerate(container):
            if not isinstance(key, str | int):
                continue
            below = (*path, str(key))
            if not isinstance(value, dict | list | tuple):
                yield Leaf(below, place, value)
            elif len(below) < deepest:
                inner.append((below, value))
        waiting += reversed(inner)
