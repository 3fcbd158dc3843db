"""Seconds per network of several ways, taken in turns: a machine's speed drifts."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.benchmarks.training_speed.cases import Work
from tests.benchmarks.training_speed.cores import cores, threads_set
from tests.benchmarks.training_speed.floors import square_rate
from tests.benchmarks.training_speed.ways import Timed, Way


@dataclass
class Measured:
    """Seconds per network of one way, one figure for each round."""

    way: Way
    timed: Timed
    steps: int
    rounds: list[float] = field(default_factory=list)

    @property
    def seconds_per_network(self) -> float:
        """Median over rounds, for all steps of a training."""
        return statistics.median(self.rounds)

    def take(self) -> None:
        """Time one call."""
        with threads_set(self.timed.threads):
            begin = time.perf_counter()
            self.timed.call()
            seconds = time.perf_counter() - begin
        share = self.timed.networks * self.timed.steps / self.steps
        self.rounds.append(seconds / share)


class Rounds:
    """Ways that are called one after the other, round after round.

    Parameters
    ----------
    work
        What each way trains.
    ways
        Which ways.
    """

    def __init__(self, work: Work, ways: Sequence[Way]) -> None:
        self.measured = [Measured(way, way.prepare(work), work.case.steps) for way in ways]
        self._rates: list[float] = []

    @property
    def rate(self) -> float:
        """Operations a second in large products on all cores: median over rounds."""
        return statistics.median(self._rates)

    def take(self) -> None:
        """Call every way once."""
        with threads_set(cores()):
            self._rates.append(square_rate())
        for each in self.measured:
            each.take()
