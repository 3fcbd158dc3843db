"""Searches side by side find what each finds alone."""

from __future__ import annotations

from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from pytest_fragility.measures.pac_bayes.noise_search import Search, searched, searched_together


def root(low: float, high: float, *, steps: int) -> Search[float]:
    """Find by halving where something that grows passes zero."""
    for _ in range(steps):
        middle = (low + high) / 2
        low, high = (middle, high) if (yield middle) < 0 else (low, middle)
    return (low + high) / 2


def distance(aim: float, place: float) -> float:
    """Return how far a place lies above what is sought."""
    return place - aim


aims = st.lists(st.tuples(st.floats(-1, 1), st.integers(0, 12)), max_size=8)


@given(aims=aims)
def test_searches_of_any_length_find_what_they_find_alone(aims: list[tuple[float, int]]) -> None:
    """Some look at nothing at all; every search is sent what it has asked for."""
    looked: list[list[int]] = []

    def look(numbers: list[int], places: list[float]) -> list[float]:
        looked.append(numbers)
        return [
            distance(aims[number][0], place) for number, place in zip(numbers, places, strict=True)
        ]

    found = searched_together([root(-1, 1, steps=steps) for _, steps in aims], look)
    for (aim, steps), value in zip(aims, found, strict=True):
        alone = searched(root(-1, 1, steps=steps), partial(distance, aim))
        assert value == alone
        assert abs(value - aim) <= 2.0**-steps
    # all that go on look together
    assert len(looked) == max((steps for _, steps in aims), default=0)
    assert sum(map(len, looked)) == sum(steps for _, steps in aims)
