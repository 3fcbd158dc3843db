"""Where the time goes: a stopwatch on which an inner part does not count in the outer one.

Whoever does some part of the work says so with `spent_on`, which costs next to nothing where
nobody has asked with `timing`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

TRAINING, MEASURES, STATISTICS, STORE, WAITING, REPORT, REST = PARTS = (
    "training",
    "measures",
    "statistics",
    "store",
    "waiting",
    "report",
    "rest",
)
SpentRow = tuple[str, str, float, int]


@dataclass
class Spent:
    """What some part of the work took, without the parts within it, and for how many networks."""

    seconds: float = 0.0
    networks: int = 0

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.seconds + other.seconds, self.networks + other.networks)


@dataclass
class Durations:
    """What each part of the work took; together, all the time there was.

    By part, of `PARTS`, and what it was about: a measure's name, or nothing.
    """

    spent: dict[tuple[str, str], Spent] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """All of them."""
        return sum(each.seconds for each in self.spent.values())

    @property
    def parts(self) -> dict[str, Spent]:
        """What each part took, in the order of `PARTS`; those that did not occur are left out."""
        totals: dict[str, Spent] = {}
        for (part, _), each in self.spent.items():
            totals[part] = totals.get(part, Spent()) + each
        return {part: totals[part] for part in PARTS if part in totals}

    @property
    def measures(self) -> dict[str, Spent]:
        """What each measure took, by name, the slowest first."""
        found = {about: each for (part, about), each in self.spent.items() if part == MEASURES}
        return dict(sorted(found.items(), key=lambda item: -item[1].seconds))

    def without(self, part: str) -> Durations:
        """Return what all other parts took."""
        return Durations({place: each for place, each in self.spent.items() if place[0] != part})

    def __add__(self, other: Durations) -> Durations:
        places = dict.fromkeys([*self.spent, *other.spent])
        return Durations({place: self._at(place) + other._at(place) for place in places})

    def _at(self, place: tuple[str, str]) -> Spent:
        return self.spent.get(place, Spent())

    def to_rows(self) -> list[SpentRow]:
        """Return plain tuples, to be sent to another process."""
        return [(*place, each.seconds, each.networks) for place, each in self.spent.items()]

    @classmethod
    def from_rows(cls, rows: Iterable[SpentRow]) -> Durations:
        """Return what another process has sent."""
        return cls({(part, about): Spent(seconds, count) for part, about, seconds, count in rows})


class Stopwatch:
    """Runs from when it is made; what no part takes is the rest's."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._durations = Durations({(REST, ""): Spent()})
        self._open = [self._durations.spent[REST, ""]]
        self._since = clock()

    @property
    def durations(self) -> Durations:
        """What each part took until now."""
        self._charge()
        return self._durations

    @contextmanager
    def spent_on(self, part: str, about: str = "", networks: int = 0) -> Iterator[Spent]:
        """Count the time until this ends as a part's, and no longer as that of the part around it.

        `about` is a measure's name, or nothing. For how many networks it is done may show only
        later: then add them to what this yields.
        """
        self._charge()
        spent = self._durations.spent.setdefault((part, about), Spent())
        spent.networks += networks
        self._open.append(spent)
        try:
            yield spent
        finally:
            self._charge()
            self._open.pop()

    def take_over(self, other: Durations) -> None:
        """Count the time since the last part began or ended as another stopwatch has."""
        self._since = self._clock()
        for place, each in other.spent.items():
            spent = self._open[-1] if place[0] == REST else self._durations.spent.get(place)
            if spent is None:
                spent = self._durations.spent[place] = Spent()
            spent.seconds += each.seconds
            spent.networks += each.networks

    def _charge(self) -> None:
        now = self._clock()
        self._open[-1].seconds += now - self._since
        self._since = now


_RUNNING: ContextVar[Stopwatch | None] = ContextVar("running stopwatch", default=None)


@contextmanager
def timing() -> Iterator[Stopwatch]:
    """Yield a stopwatch that is told what the work until the end of this is spent on.

    One that runs already stands still meanwhile, and then counts the same.
    """
    around = _RUNNING.get()
    if around:
        # what came before is its own
        _ = around.durations
    stopwatch = Stopwatch()
    token = _RUNNING.set(stopwatch)
    try:
        yield stopwatch
    finally:
        durations = stopwatch.durations
        _RUNNING.reset(token)
        if around:
            around.take_over(durations)


@contextmanager
def spent_on(part: str, about: str = "", networks: int = 0) -> Iterator[Spent]:
    """Tell the stopwatch that runs, if any, what part of the work this is.

    A function can be decorated with it as well. Parameters are those of `Stopwatch.spent_on`.
    """
    stopwatch = _RUNNING.get()
    if stopwatch is None:
        yield Spent()
    else:
        with stopwatch.spent_on(part, about, networks) as spent:
            yield spent
