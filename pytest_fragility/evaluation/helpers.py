"""Workers of this machine that help to measure: each answers what nobody has answered yet.

Operations on a few small networks leave all cores but one idle, whatever number of threads they may
use, while the workers that have trained wait in processes of their own.
"""

from __future__ import annotations

import atexit
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch

from pytest_fragility.evaluation.calling import is_own
from pytest_fragility.evaluation.remote import answer, get_ready
from pytest_fragility.families.family import Family
from pytest_fragility.measures.measure import Measure
from pytest_fragility.parallel.cores import own_share
from pytest_fragility.parallel.local_processes import START_AFTER, LocalProcesses
from pytest_fragility.parallel.pool import Job, Key, Replies

# seconds of measuring after which a worker that waits is worth the networks that it is sent
HELP_AFTER = 0.25
# parameters: one operation on larger networks has work for all cores
SMALL_NETWORK = 1 << 18


class Helpers(LocalProcesses):
    """As many workers as a measure leaves cores idle, from some seconds of measuring on."""

    def __init__(self) -> None:
        super().__init__(0, prepare=get_ready)
        self._seconds = 0.0
        self._measure: Measure | None = None

    @property
    def workers(self) -> int:
        """How many cores a measure in this process leaves to others."""
        return idle_cores()

    def ask(self, measure: Measure, jobs: Mapping[Key, Job]) -> Replies[Key]:
        """Have questions to a measure answered before all others; those to others no more."""
        if measure is not self._measure:
            self._measure = measure
            for others in self._waiting():
                others.cancel()
        return self.begin(answer, jobs)

    def recruit(self) -> None:
        """Have workers help, if measuring has lasted long enough to be worth it."""
        self._start_after = 0.0 if self._seconds > START_AFTER else None
        if self._seconds > HELP_AFTER:
            super().recruit()

    @contextmanager
    def beside(self) -> Iterator[None]:
        """Answer as workers do, on one core, so that nothing depends on who has answered."""
        self.recruit()
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        began = time.perf_counter()
        try:
            yield
        finally:
            self._seconds += time.perf_counter() - began
            torch.set_num_threads(threads)


def idle_cores() -> int:
    """Return how many cores a measure in this process would leave to others."""
    return own_share().cores(torch.get_num_threads()) - 1


helpers = Helpers()


atexit.register(helpers.close)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=helpers.forget)


def can_be_helped(measure: Measure, family: Family) -> bool:
    """Return whether workers may be asked about a measure, and would say the same as this process.

    That is so for this package's own measures, which do nothing else, of small networks on the CPU,
    where torch computes as it does by default.
    """
    is_plain = (
        torch.get_default_dtype() == torch.float32
        and torch.get_float32_matmul_precision() == "highest"
    )
    is_on_cpu = family.device.type == "cpu" and idle_cores() > 0
    return is_own(measure) and is_plain and is_on_cpu and _size(family) <= SMALL_NETWORK


def _size(family: Family) -> int:
    """Return how many parameters the largest network has."""
    firsts = (
        family.trained_run(recipe, family.sizes[0], family.seeds_of(recipe)[0])
        for recipe in family.judged
    )
    return max(sum(weight.numel() for weight in run.weights.values()) for run in firsts)
