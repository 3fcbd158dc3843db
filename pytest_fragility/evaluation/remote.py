"""What other processes are asked about networks, and what they answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from typing import Any, NamedTuple

import torch

from pytest_fragility.errors import MeasureError
from pytest_fragility.evaluation.evaluate import Asking, Failures, evaluate_size
from pytest_fragility.families.family import Family
from pytest_fragility.families.plan import FamilyPlan
from pytest_fragility.measures.measure import Measure, is_oracle
from pytest_fragility.networks.runs import Run
from pytest_fragility.networks.stack_cache import StacksOfRuns
from pytest_fragility.networks.transport import Parcel, pack_runs
from pytest_fragility.parallel.failures import Failure
from pytest_fragility.parallel.pickling import dump
from pytest_fragility.parallel.worker_side import load_sent
from pytest_fragility.training.devices import choose_device

# the numbers of a `StacksOfRuns` in the process that asks, and of a stack among them
Place = tuple[int, int]
# packed networks, and the numbers of all that may be asked about again
Sent = tuple[bytes, Set[int]]


class Answer(NamedTuple):
    """What a measure says of networks of one recipe and size.

    Parameters
    ----------
    values
        One per seed; none where it fails on all.
    failures
        By seed, how it fails on single networks.
    error
        How it fails on all.
    """

    values: list[float]
    failures: Mapping[int, Failure]
    error: Failure | None = None

    @classmethod
    def of(cls, asking: Asking, n: int) -> Answer:
        """Ask a measure in this process."""
        failures, values, error = Failures(), [], None
        try:
            values = evaluate_size(asking, n, failures)
        except MeasureError as raised:
            error = Failure(raised, "")
        found = {seed: Failure(each, "") for (_, seed), each in failures.found.items()}
        return cls(values, found, error)

    def portable(self) -> Answer:
        """Return what can be sent: with the tracebacks of causes as text."""
        failures = {seed: each.with_cause_as_text() for seed, each in self.failures.items()}
        return Answer(self.values, failures, self.error and self.error.with_cause_as_text())

    def noted(self, n: int, failures: Failures) -> list[float]:
        """Return the values, and note the failures among those on other networks of the curve."""
        for seed, failure in self.failures.items():
            with failures.noting(n, seed):
                failure.throw()
        if self.error:
            self.error.throw()
        return self.values


def pack(asking: Asking, n: int) -> bytes:
    """Return the networks of one recipe and size that are asked about, as bytes."""
    trained = asking.runs(n)
    runs = pack_runs([[each.run for each in trained]], with_test_data=is_oracle(asking.measure))
    parcels = [Parcel.pack((0, place), each) for place, each in enumerate(trained)]
    return dump((asking.recipe, str(asking.family.device), runs, parcels), [])


def _unpacked(packed: bytes, stacks: StacksOfRuns | None = None) -> Family:
    """Return the family of networks that were sent."""
    recipe, device, packed_runs, parcels = load_sent(packed)
    (runs,) = load_sent(packed_runs)
    first: Run = runs[0]
    plan = FamilyPlan(first.task, {recipe: first.recipe}, (first.n,), tuple(r.seed for r in runs))
    trained = {
        (recipe, run.n, run.seed): parcel.unpack(run)
        for run, parcel in zip(runs, parcels, strict=True)
    }
    return Family(plan, trained, choose_device(device), stacks=stacks)


def get_ready() -> Iterator[None]:
    """Do nothing, once all that answers need is imported."""
    yield from ()


def answer(
    code: bytes, options: dict[str, Any], threads: int, place: Place | None, sent: Sent | None
) -> Iterator[Answer]:
    """Yield what a measure says of networks; called in a worker.

    Parameters
    ----------
    code
        The measure.
    options
        Of the `Asking`, but for the measure and the family.
    threads
        How many of them an operation may use.
    place
        What the networks are called that are kept; None keeps none.
    sent
        The networks; None where they have been sent before.
    """
    measure: Measure = load_sent(code)
    asking = Asking(measure, family=_family(place, sent), **options)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield Answer.of(asking, asking.family.sizes[0]).portable()
    finally:
        torch.set_num_threads(before)


_STACKS: dict[int, StacksOfRuns] = {}
_FAMILIES: dict[Place, Family] = {}


def _family(place: Place | None, sent: Sent | None) -> Family:
    """Return networks that are sent or kept; those that nobody asks about again are forgotten."""
    if sent is None:
        assert place is not None
        return _FAMILIES[place]
    networks, alive = sent
    if place is None:
        return _unpacked(networks)
    for number in _STACKS.keys() - alive:
        del _STACKS[number]
    for kept in [kept for kept in _FAMILIES if kept[0] not in alive]:
        del _FAMILIES[kept]
    stacks = _STACKS.setdefault(place[0], StacksOfRuns(torch.device("cpu")))
    _FAMILIES[place] = _unpacked(networks, stacks)
    return _FAMILIES[place]
