"""Which recipes of a file serve as perturbations, and which as stopping points of one training."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from pytest_fragility.errors import SettingsError
from pytest_fragility.perturbations import get_perturbation
from pytest_fragility.recipes import Recipe
from pytest_fragility.settings import PROFILES


def perturbations_of(names: Sequence[str]) -> list[str]:
    """Return the names of recipes that are perturbations where nobody says which are.

    All but those that change nothing but where the training stops; of these, what the standard
    profile has among its perturbations too.
    """
    standard = PROFILES["standard"].perturbations
    return [name for name in names if name in standard or not is_stopping_point(name)]


def stopping_points_of(names: Sequence[str]) -> list[str]:
    """Return the names of recipes that change nothing but where the training stops."""
    return [name for name in names if is_stopping_point(name)]


@cache
def is_stopping_point(name: str) -> bool:
    """Return whether the catalogue's perturbation of this name changes the stopping rule alone."""
    baseline = Recipe()
    try:
        changed = get_perturbation(name)(baseline)
    except SettingsError:
        return False
    return changed != baseline and changed.replace(stopping=baseline.stopping) == baseline
