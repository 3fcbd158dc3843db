"""What worker processes of this machine do for measures; they keep the networks they were sent."""

from __future__ import annotations

from collections.abc import Iterator, Set
from functools import lru_cache

import torch

from pytest_fragility.evaluation.remote import Answer, Question, answered, unpacked
from pytest_fragility.families.trained_family import Family
from pytest_fragility.measures.measure import Measure
from pytest_fragility.networks.stack_cache import StacksOfRuns
from pytest_fragility.parallel.failures import Failure
from pytest_fragility.parallel.worker_side import load_sent

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
