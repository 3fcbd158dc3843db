"""What a strategy can draw, so that it can be trained ahead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from hypothesis import strategies as st

from pytest_fragility.perturbations import Perturbation

Drawn = TypeVar("Drawn")
# a strategy is whatever Hypothesis makes of it, and is forgotten with its test
_LATTICES = WeakKeyDictionary[st.SearchStrategy[Any], Sequence[Perturbation]]()
_PREPARATIONS = WeakKeyDictionary[st.SearchStrategy[Any], Callable[[], None]]()


def remember_lattice(
    strategy: st.SearchStrategy[Drawn], lattice: Sequence[Perturbation]
) -> st.SearchStrategy[Drawn]:
    """Note the single changes that a strategy can draw, and return it."""
    _LATTICES[strategy] = lattice
    return strategy


def lattice_of(strategy: object) -> Sequence[Perturbation]:
    """Return the single changes that a strategy can draw; none where that is not known."""
    return _LATTICES.get(strategy, ()) if isinstance(strategy, st.SearchStrategy) else ()


def remember_preparation(
    strategy: st.SearchStrategy[Drawn], prepare: Callable[[], None]
) -> st.SearchStrategy[Drawn]:
    """Note what trains the networks that a strategy can draw, and return it."""
    _PREPARATIONS[strategy] = prepare
    return strategy


def prepare(strategy: object) -> None:
    """Train the networks that a strategy can draw, where it draws networks."""
    if isinstance(strategy, st.SearchStrategy) and strategy in _PREPARATIONS:
        _PREPARATIONS[strategy]()
