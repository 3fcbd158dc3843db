"""Tasks, recipes, changes and checks that an audit is asked for: checked, or an error."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pytest_fragility._util.imports import load
from pytest_fragility._util.text import shown
from pytest_fragility.checks.check import (
    COMPLEXITY,
    KINDS,
    LINEAR_KINDS,
    STOPPING,
    nearest,
    plan_checks,
)
from pytest_fragility.errors import SettingsError
from pytest_fragility.names import LONGEST_NAME
from pytest_fragility.perturbations import (
    AXES,
    Perturbation,
    changes_recipe,
    get_perturbation,
    resolve_perturbations,
)
from pytest_fragility.recipes import Recipe
from pytest_fragility.settings.options import NO_LADDER
from pytest_fragility.settings.profiles import Profile
from pytest_fragility.settings.validators import choose, listed
from pytest_fragility.tasks import Ladder, Task, get_ladder, get_task
from pytest_fragility.tasks.ladders import LADDERS

# what locate=True walks along; the others have few steps, or take long
LOCATED_AXES = ("lr", "batch", "optimizer", "weight-decay", "init")


def checked_task(value: Any) -> Task:
    """Return a task, or the one of a name."""
    if isinstance(value, str):
        return get_task(value)
    if not isinstance(value, Task):
        raise SettingsError(f"task={shown(value)}: expected a name or a pytest_fragility.Task")
    return value


def checked_ladder(value: Any, task: Task) -> Ladder | None:
    """Return a ladder, one of a name, or one of the tasks that are listed; None for none."""
    if isinstance(value, str):
        choose("ladder", value, dict.fromkeys([*LADDERS, NO_LADDER]))
        return None if value == NO_LADDER else get_ladder(value, task)
    if isinstance(value, Ladder):
        return value
    if not isinstance(value, Iterable):
        raise SettingsError(f"ladder={shown(value)}: expected a name, a Ladder or a list of tasks")
    tasks = [checked_task(each) for each in value]
    name = " -> ".join(each.name for each in tasks) or "of no task"
    return Ladder(name if len(name) <= LONGEST_NAME else f"of {len(tasks)} tasks", tasks)


def loaded_architecture(value: Any) -> Any:
    """Return what a recipe takes: a place in a module stands for what is there."""
    is_place = isinstance(value, str) and ":" in value
    return load(value, "architecture") if is_place else value


def checked_perturbations(
    value: Any, profile: Profile, recipe: Recipe, sizes: Sequence[int]
) -> dict[str, Perturbation]:
    """Return perturbations by name; the profile's where none are named."""
    if value is None:
        return _those_that_change(recipe, profile.perturbations, sizes)
    if isinstance(value, str) or callable(value):
        value = [value]
    return resolve_perturbations(listed("perturbations", value), recipe, sizes)


def _those_that_change(
    recipe: Recipe, names: Iterable[str], sizes: Sequence[int] = ()
) -> dict[str, Perturbation]:
    """Return the perturbations of a profile that change a recipe: the others nobody asked for."""
    standard = map(get_perturbation, names)
    return {change.name: change for change in standard if changes_recipe(change, recipe, sizes)}


def checked_checkpoints(
    value: Any, profile: Profile, recipe: Recipe, kinds: Sequence[str]
) -> dict[str, Perturbation]:
    """Return checkpoints by name, if they are checked; the profile's where none are named."""
    if STOPPING not in kinds:
        return {}
    if value is None:
        return _those_that_change(recipe, profile.checkpoints)
    named = [value] if isinstance(value, str) or callable(value) else value
    chosen = resolve_perturbations(listed("checkpoints", named), recipe)
    for name, change in chosen.items():
        if change(recipe).replace(stopping=recipe.stopping) != recipe:
            raise SettingsError(
                f"checkpoint {name!r} changes more than where the training stops; name it in "
                "perturbations, or choose one such as stop-accuracy, stop-loss-0.01 or past-x2"
            )
    if not chosen:
        raise SettingsError(
            f"checkpoints={shown(value)}: expected at least one, such as stop-accuracy or past-x2, "
            f"or checks=... without {STOPPING!r}"
        )
    return chosen


def require_one_meaning(
    perturbations: Mapping[str, Perturbation],
    checkpoints: Mapping[str, Perturbation],
    recipe: Recipe,
) -> None:
    """Raise a SettingsError where one name stands for two changes."""
    for name in perturbations.keys() & checkpoints.keys():
        if perturbations[name](recipe) != checkpoints[name](recipe):
            raise SettingsError(
                f"{name!r} is one change among the perturbations and another one among the "
                "checkpoints; give one of them another name"
            )


def checked_kinds(value: Any, scale: str, ladder: Ladder | None) -> tuple[str, ...]:
    """Return kinds of checks; all that are possible where none are named."""
    possible = LINEAR_KINDS if scale == "linear" else KINDS
    named = [value] if isinstance(value, str) else value
    default = tuple(kind for kind in possible if ladder or kind != COMPLEXITY)
    kinds = default if value is None else tuple(listed("checks", named))
    if not kinds or len(set(map(shown, kinds))) != len(kinds):
        raise SettingsError(
            f"checks={shown(value)}: expected some of {', '.join(KINDS)}, each once"
        )
    plan_checks(kinds, [])
    if COMPLEXITY in kinds and ladder is None:
        raise SettingsError(
            f"checks={shown(value)}: {COMPLEXITY} needs a ladder, and ladder='none'"
        )
    for kind in kinds:
        if kind not in possible:
            raise SettingsError(
                f"checks={shown(value)}: {kind} needs scale='log'; on a linear scale only "
                f"{', '.join(LINEAR_KINDS)} can be checked"
            )
    return kinds


def checked_axes(value: Any, recipe: Recipe) -> tuple[str, ...]:
    """Return the axes to walk along: True stands for those that cost little."""
    usable = [
        name
        for name, axis in AXES.items()
        if any(changes_recipe(change, recipe) for change in axis.perturbations)
    ]
    if isinstance(value, bool):
        return tuple(name for name in LOCATED_AXES if name in usable) if value else ()
    names = [value] if isinstance(value, str) else listed("locate", value)
    for name in names:
        if name not in usable:
            raise SettingsError(
                f"locate={shown(value)}{nearest(name, usable)}: expected True, or some of "
                f"{', '.join(usable)}"
            )
    return tuple(dict.fromkeys(names))
