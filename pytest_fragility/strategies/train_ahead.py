"""What a strategy can draw, so that it can be trained ahead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from hypothesis import strategies as st

from pytest_fragility.perturbations import Perturbation

Drawn = TypeVar("Drawn")
# by identity: a strategy is whatever Hypothesis makes of it
_LATTICES: dict[int, tuple[st.SearchStrategy[Any], Sequence[Perturbation]]] = {}
_PREPARATIONS: dict[int, tuple[st.SearchStrategy[Any], Callable[[], None]]] = {}


def remember_lattice(
    strategy: st.SearchStrategy[Drawn], lattice: Sequence[Perturbation]
) -> st.SearchStrategy[Drawn]:
    """Note the single changes that a strategy can draw, and return it."""
    _LATTICES[id(strategy)] = (strategy, lattice)
    return strategy


def lattice_of(strategy: object) -> Sequence[Perturbation]:
    """Return the single changes that a strategy can draw; none where that is not known."""
    known = _LATTICES.get(id(strategy))
    return known[1] if known else ()


def remember_preparation(
    strategy: st.SearchStrategy[Drawn], prepare: Callable[[], None]
) -> st.SearchStrategy[Drawn]:
    """Note what trains the networks that a strategy can draw, and return it."""
    _PREPARATIONS[id(strategy)] = (strategy, prepare)
    return strategy


def prepare(strategy: object) -> None:
    """Train the networks that a strategy can draw, where it draws networks."""
    known = _PREPARATIONS.get(id(strategy))
    if known:
        known[1]()
