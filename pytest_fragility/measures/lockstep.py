"""Searches that look at one value after the other: one search at a time, or many side by side."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import TypeVar

Result = TypeVar("Result")

# yields where it looks next, is sent what it sees there, and returns what it finds
Search = Generator[float, float, Result]


def searched(search: Search[Result], look: Callable[[float], float]) -> Result:
    """Return what a search finds.

    Parameters
    ----------
    search
        One that has not begun.
    look
        From where the search looks to what it sees.
    """
    try:
        place = next(search)
        while True:
            place = search.send(look(place))
    except StopIteration as end:
        found: Result = end.value
        return found


def searched_together(
    searches: Sequence[Search[Result]],
    look: Callable[[list[int], list[float]], list[float]],
) -> list[Result]:
    """Return what each search finds, where those that go on look at the same time.

    Parameters
    ----------
    searches
        Some that have not begun.
    look
        From the numbers of the searches that look, and where each does, to what each sees.
    """
    found: dict[int, Result] = {}
    places: dict[int, float] = {}

    def advance(number: int, seen: float | None) -> None:
        search = searches[number]
        try:
            places[number] = next(search) if seen is None else search.send(seen)
        except StopIteration as end:
            found[number] = end.value

    for number in range(len(searches)):
        advance(number, None)
    while places:
        looking = list(places)
        seen = look(looking, [places.pop(number) for number in looking])
        for number, value in zip(looking, seen, strict=True):
            advance(number, value)
    return [found[number] for number in range(len(searches))]
