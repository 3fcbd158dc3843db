"""Strategies for perturbations, recipes and symmetries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from hypothesis import assume
from hypothesis import strategies as st

from pytest_fragility.errors import SettingsError
from pytest_fragility.perturbations import AXES, FIRST_AXES, Axis, Perturbation, changes_recipe
from pytest_fragility.recipes import Recipe
from pytest_fragility.symmetries import SYMMETRIES, Symmetry

# the single changes that a strategy can draw; both are forgotten together
_LATTICES = WeakKeyDictionary[st.SearchStrategy[Any], Sequence[Perturbation]]()


def perturbations(
    axes: Iterable[str] | None = None, *, baseline: Recipe | None = None, max_axes: int = 1
) -> st.SearchStrategy[Perturbation]:
    """Draw small training changes from the catalogue, composed ones too.

    Shrinks to fewer axes, then to the smaller step on each.

    Parameters
    ----------
    axes
        Names of axes to draw from, such as ``("lr", "batch")``; all by default, the users' own
        among them.
    baseline
        The recipe that every drawn change must change; the default recipe where it is not given.
    max_axes
        Along how many axes a drawn change may go at once. Single changes are trained ahead, where
        a test's networks are; composed ones when they are drawn, which takes longer than
        Hypothesis's default deadline: use the settings profile ``fragility``.

    Raises
    ------
    SettingsError
        If there is no such axis, it is named twice, or none of its changes changes the baseline.
    """
    recipe = Recipe() if baseline is None else baseline
    chosen = _usable(_named_axes(axes), recipe, is_named=axes is not None)
    if not 1 <= max_axes <= len(chosen):
        raise SettingsError(f"max_axes={max_axes!r}: expected from 1 to {len(chosen)}, the axes")
    strategy = _perturbations(chosen, recipe, max_axes)
    _LATTICES[strategy] = [each for axis in chosen for each in axis.perturbations]
    return strategy


def lattice_of(strategy: object) -> Sequence[Perturbation]:
    """Return the single changes that a strategy can draw; none where that is not known."""
    return _LATTICES.get(strategy, ()) if isinstance(strategy, st.SearchStrategy) else ()


@st.composite
def _perturbations(
    draw: st.DrawFn, axes: list[Axis], baseline: Recipe, max_axes: int
) -> Perturbation:
    chosen = draw(
        st.lists(_steps(axes), min_size=1, max_size=max_axes, unique_by=lambda step: step[0])
    )
    chosen.sort(key=lambda step: (axes[step[0]].name not in FIRST_AXES, step[0]))
    parts = [part for _, part in chosen]
    whole = parts[0]
    for part in parts[1:]:
        whole = whole + part
    assume(changes_recipe(whole, baseline))
    return whole


@st.composite
def _steps(draw: st.DrawFn, axes: list[Axis]) -> tuple[int, Perturbation]:
    """Draw an axis' number and a change along it, each axis as often as any other.

    In a strategy of its own, so that a choice means the same in every place of a list, and can be
    left when others are not; with one choice for the change, so that no axis of several seems
    simpler than another.
    """
    place = draw(st.integers(0, len(axes) - 1))
    return place, draw(st.sampled_from(axes[place].perturbations))


def _named_axes(names: Iterable[str] | None) -> list[Axis]:
    if names is None:
        return list(AXES.values())
    wanted = [names] if isinstance(names, str) else list(names)
    for name in wanted:
        if name not in AXES:
            raise SettingsError(f"unknown axis {name!r}: expected some of {', '.join(AXES)}")
        if wanted.count(name) > 1:
            raise SettingsError(f"axis {name!r} is given twice")
    return [AXES[name] for name in wanted]


def _usable(axes: list[Axis], baseline: Recipe, *, is_named: bool) -> list[Axis]:
    """Return the axes with those changes alone that change the baseline: some on each named one."""
    usable = []
    for axis in axes:
        directions = [
            tuple(each for each in direction if changes_recipe(each, baseline))
            for direction in axis.directions
        ]
        if any(directions):
            usable.append(Axis(axis.name, tuple(filter(None, directions))))
        elif is_named:
            raise SettingsError(f"no change along {axis.name} changes the baseline ({baseline})")
    if not usable:
        raise SettingsError("no axis to draw from is named")
    return usable


def recipes(
    axes: Iterable[str] | None = None, *, baseline: Recipe | None = None, max_axes: int = 2
) -> st.SearchStrategy[Recipe]:
    """Draw the baseline and small changes of it.

    Shrinks to the baseline.

    Parameters
    ----------
    axes
        Names of axes to draw from; all by default.
    baseline
        What is changed; the default recipe where it is not given.
    max_axes
        Along how many axes a drawn recipe may differ from the baseline.

    Raises
    ------
    SettingsError
        If there is no such axis, it is named twice, or none of its changes changes the baseline.
    """
    recipe = Recipe() if baseline is None else baseline
    changes = perturbations(axes, baseline=recipe, max_axes=max_axes)
    return st.one_of(st.just(recipe), changes.map(lambda change: change(recipe)))


def symmetries() -> st.SearchStrategy[Symmetry]:
    """Draw changes of weights that leave a network's function as it is.

    Called on a network in float64, each returns the changed network, or None where the network
    does not have the symmetry.
    """
    return st.sampled_from(list(SYMMETRIES.values()))
