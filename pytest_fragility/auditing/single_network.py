"""One network by what it was trained with."""

from __future__ import annotations

import operator
from pathlib import Path

from pytest_fragility.auditing.from_settings import train_plans
from pytest_fragility.errors import SettingsError
from pytest_fragility.families.plan import FamilyPlan
from pytest_fragility.networks.trained_network import TrainedNetwork
from pytest_fragility.perturbations import BASELINE, Perturbation, get_perturbation
from pytest_fragility.recipes import Recipe
from pytest_fragility.settings import DEFAULT_FOLDER, resolve_settings
from pytest_fragility.tasks import Task


def trained_network(
    *,
    task: Task | str | None = None,
    recipe: Recipe | Perturbation | str | None = None,
    n: int,
    seed: int = 0,
    device: str | None = None,
    cache_dir: Path | str | None = DEFAULT_FOLDER,
) -> TrainedNetwork:
    """Return one network, trained or read from the store, as a measure sees it.

    Parameters
    ----------
    task
        What is learned: a `Task` or a name. Default: digits with 20 % random training labels.
    recipe
        How: a `Recipe`, or a perturbation of the default one or its name. Default: that itself.
    n
        Training set size.
    seed
        The run's seed.
    device
        ``auto`` (the default), ``cpu``, ``cuda`` or ``cuda:1``.
    cache_dir
        Where trained runs are kept; None keeps nothing.

    Raises
    ------
    SettingsError
        If an option's value cannot be used.
    TaskError
        If the task has too few samples.

    Examples
    --------
    >>> trained_network(n=128, recipe="lr-x4").train_error
    0.0078125
    """
    n, seed = _whole_number("n", n, 1), _whole_number("seed", seed, 0)
    settings = resolve_settings({"task": task, "device": device, "cache_dir": cache_dir})
    name, made = _named_recipe(recipe, settings.recipe)
    plan = FamilyPlan(settings.task, {name: made}, (n,), (seed,))
    (family,) = train_plans([plan], settings)
    return family[settings.task.name, name, n, seed]


def _whole_number(option: str, value: int, least: int) -> int:
    """Return a number as an int, whoever made it."""
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if isinstance(value, bool) or number < least:
        raise SettingsError(f"{option}={value!r}: expected a whole number from {least} up")
    return number


def _named_recipe(
    recipe: Recipe | Perturbation | str | None, default: Recipe
) -> tuple[str, Recipe]:
    if recipe is None:
        return BASELINE, default
    if isinstance(recipe, Recipe):
        return BASELINE, recipe
    change = get_perturbation(recipe) if isinstance(recipe, str) else recipe
    if not isinstance(change, Perturbation):
        raise SettingsError(f"recipe={recipe!r}: expected a Recipe, a Perturbation or a name")
    return change.name, change(default)
