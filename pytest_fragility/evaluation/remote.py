"""What other processes are asked about networks, and what they answer."""

from __future__ import annotations

from collections.abc import Iterator, Set
from functools import lru_cache
from typing import NamedTuple

import torch

from pytest_fragility.errors import MeasureError
from pytest_fragility.evaluation.calling import Failures
from pytest_fragility.evaluation.evaluate import Asking, evaluate_size
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


class Question(NamedTuple):
    """What a worker is asked: the values of a measure on the networks of one recipe and size.

    Parameters
    ----------
    name
        What error messages call the measure.
    recipe
        The recipe's name.
    scale, draw, timeout
        As `evaluate` takes them.
    threads
        How many of them an operation may use.
    """

    name: str
    recipe: str
    scale: str
    draw: int
    timeout: float | None
    threads: int

    @classmethod
    def of(cls, asking: Asking, threads: int) -> Question:
        """Return what is asked; the networks travel apart."""
        return cls(asking.name, asking.recipe, asking.scale, asking.draw, asking.timeout, threads)


class Answer(NamedTuple):
    """A measure's values, one per seed, and by seed how it has failed."""

    values: list[float]
    failures: dict[int, Failure]

    def noted(self, n: int, failures: Failures) -> list[float]:
        """Return the values, and note how the measure has failed, as if it had here."""
        for seed, failure in self.failures.items():
            with failures.noting(n, seed):
                failure.throw()
        return self.values


class Networks(NamedTuple):
    """Networks of one recipe and size on their way to another process.

    Parameters
    ----------
    recipe
        The recipe's name.
    device
        Where they live.
    runs
        What they were trained as, one group, from `pack_runs`.
    parcels
        What came out.
    """

    recipe: str
    device: str
    runs: bytes
    parcels: list[Parcel]

    @classmethod
    def packed(cls, asking: Asking, n: int) -> bytes:
        """Return those that are asked about, as bytes."""
        trained = asking.runs(n)
        runs = pack_runs([[each.run for each in trained]], with_test_data=is_oracle(asking.measure))
        parcels = [Parcel.pack((0, place), each) for place, each in enumerate(trained)]
        return dump(cls(asking.recipe, str(asking.family.device), runs, parcels), [])


def unpacked(packed: bytes, stacks: StacksOfRuns | None = None) -> Family:
    """Return the family of networks that were sent."""
    sent: Networks = load_sent(packed)
    (runs,) = load_sent(sent.runs)
    first: Run = runs[0]
    plan = FamilyPlan(
        first.task, {sent.recipe: first.recipe}, (first.n,), tuple(run.seed for run in runs)
    )
    trained = {
        (sent.recipe, run.n, run.seed): parcel.unpack(run)
        for run, parcel in zip(runs, sent.parcels, strict=True)
    }
    return Family(plan, trained, choose_device(sent.device), stacks=stacks)


def answered(measure: Measure, question: Question, family: Family) -> Answer | Failure:
    """Return a measure's values on a family of one size, or what its failure was."""
    asking = Asking(
        measure,
        question.name,
        family,
        question.recipe,
        question.scale,
        question.draw,
        question.timeout,
    )
    failures = Failures()
    threads = torch.get_num_threads()
    torch.set_num_threads(question.threads)
    try:
        values = evaluate_size(asking, family.sizes[0], failures)
    except MeasureError as error:
        return Failure.with_cause_alone(error)
    finally:
        torch.set_num_threads(threads)
    found = {seed: Failure.with_cause_alone(error) for (_, seed), error in failures.found.items()}
    return Answer(values, found)


def answer(code: bytes, networks: bytes, asked: bytes) -> Answer | Failure:
    """Return what a measure says of networks; called in an executor's worker."""
    measure: Measure = load_sent(code)
    question: Question = load_sent(asked)
    return answered(measure, question, unpacked(networks))


# the numbers of a `StacksOfRuns` in the process that asks, and of a stack among them
Place = tuple[int, int]
_STACKS: dict[int, StacksOfRuns] = {}
_FAMILIES: dict[Place, Family] = {}


def get_ready() -> Iterator[None]:
    """Do nothing, once all that answers need is imported."""
    yield from ()


def answer_kept(
    code: bytes, asked: bytes, place: Place, networks: bytes | None, alive: Set[int]
) -> Iterator[Answer | Failure]:
    """Yield a measure's values on some networks, or what its failure was.

    Parameters
    ----------
    code
        The measure.
    asked
        A `Question`.
    place
        What the networks are called.
    networks
        The networks; None where they have been sent before.
    alive
        The numbers of all that may be asked about again; networks of others are forgotten.
    """
    _forget_all_but(alive)
    if networks is not None:
        stacks = _STACKS.setdefault(place[0], StacksOfRuns(torch.device("cpu")))
        _FAMILIES[place] = unpacked(networks, stacks)
    question: Question = load_sent(asked)
    yield answered(_measure(code), question, _FAMILIES[place])


@lru_cache(maxsize=1)
def _measure(code: bytes) -> Measure:
    measure: Measure = load_sent(code)
    return measure


def _forget_all_but(alive: Set[int]) -> None:
    for number in _STACKS.keys() - alive:
        del _STACKS[number]
    for place in [place for place in _FAMILIES if place[0] not in alive]:
        del _FAMILIES[place]
