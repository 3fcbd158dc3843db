"""What perturbations do to a recipe: all that their names say, or an error."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pytest_fragility.errors import SettingsError
from pytest_fragility.perturbations.perturbation import Perturbation
from pytest_fragility.recipes import Recipe


def perturbed(perturbation: Perturbation, recipe: Recipe, sizes: Sequence[int] = ()) -> Recipe:
    """Return a changed recipe, to which each part of the perturbation has made a difference.

    A SettingsError says that the recipe stays as it is, or would be the same without one of the
    parts, as where a later one sets its change anew. Where sizes of training sets are known, there
    has to be a difference at one of them.
    """
    changed = perturbation(recipe)
    if train_alike(changed, recipe, sizes):
        where = "" if changed == recipe else f" at sizes {', '.join(map(str, sizes))}, where a "
        where += "batch is the whole training set" if where else ""
        raise SettingsError(
            f"perturbation {perturbation.name!r} leaves the baseline recipe as it is ({recipe})"
            f"{where}; leave it out or replace the baseline"
        )
    parts = perturbation.single_changes
    for place, part in enumerate(parts):
        try:
            without = _after([*parts[:place], *parts[place + 1 :]], recipe)
        except SettingsError:
            # the others cannot be without it
            continue
        if train_alike(without, changed, sizes):
            raise SettingsError(
                f"perturbation {perturbation.name!r}: {part.name} makes no difference to it on the "
                f"baseline recipe ({recipe}): another part sets anew what it changes, or it is so "
                "already; leave it out, or name it last"
            )
    return changed


def train_alike(one: Recipe, other: Recipe, sizes: Sequence[int] = ()) -> bool:
    """Return whether two recipes train alike, at all of some sizes where these are known."""
    if one == other or not sizes:
        return one == other
    return all(one.at_size(n) == other.at_size(n) for n in sizes)


def changes_recipe(perturbation: Perturbation, recipe: Recipe, sizes: Sequence[int] = ()) -> bool:
    """Return whether a perturbation can be applied to a recipe, and all of it changes it."""
    try:
        perturbed(perturbation, recipe, sizes)
    except SettingsError:
        return False
    return True


def _after(parts: Iterable[Perturbation], recipe: Recipe) -> Recipe:
    for part in parts:
        recipe = part(recipe)
    return recipe
