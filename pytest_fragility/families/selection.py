"""What of a file is audited: its task, perturbations, sizes and seeds, and the tasks beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from pytest_fragility._util.text import nearest, shown
from pytest_fragility.errors import SettingsError, TableError
from pytest_fragility.perturbations import BASELINE, get_perturbation
from pytest_fragility.perturbations.catalogue import STANDARD
from pytest_fragility.recipes import Recipe


@cache
def is_stopping_point(name: str) -> bool:
    """Return whether the catalogue's perturbation of this name changes the stopping rule alone."""
    baseline = Recipe()
    try:
        changed = get_perturbation(name)(baseline)
    except SettingsError:
        return False
    return changed != baseline and changed.replace(stopping=baseline.stopping) == baseline


NO_LADDER = "none"
FEWEST_SIZES = FEWEST_TASKS = 2
# task, recipe, n and seed
FullPlace = tuple[str, str, int, int]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What an audit asks for, of what a file has; None asks for all of it.

    Of the task, of recipes (perturbations, and checkpoints for the check of stopping) and of the
    ladder's tasks, which may be ``none``, it has names; seeds may be a number of them.
    """

    task: Any = None
    perturbations: Any = None
    checkpoints: Any = None
    sizes: Any = None
    seeds: Any = None
    ladder: Any = None


@dataclass(frozen=True)
class Selection:
    """What is audited: the baseline comes first, and some network has each size and seed."""

    task: str
    recipes: tuple[str, ...]
    sizes: tuple[int, ...]
    seeds: tuple[int, ...]
    ladder: tuple[str, ...]


def select(name: str, places: Iterable[FullPlace], asked: Asked) -> Selection:
    """Return what is audited of the networks of a file, by its name.

    The task, where none is named, is the only one that has perturbations, or the first where none
    has. All tasks that have a baseline are the ladder. A TableError says what is not there.
    """
    found = list(places)
    recipes: dict[str, dict[str, None]] = {}
    for task, recipe, _, _ in found:
        recipes.setdefault(task, {})[recipe] = None
    task = _task(name, recipes, asked.task)
    if BASELINE not in recipes[task]:
        other = next(iter(recipes[task]))
        raise TableError(
            f"{name}: no rows of the recipe {BASELINE!r} for task {task}, with which all others "
            f"are compared; it has {', '.join(recipes[task])}. Call one of them {BASELINE!r}; "
            f"Family.from_table and Family.from_checkpoints take baseline={other!r}"
        )
    there = [each for each in recipes[task] if each != BASELINE]
    judged = set().union(*roles(there, asked, name))
    taken = (BASELINE, *(each for each in there if each in judged))
    own = [place for place in found if place[0] == task and place[1] in taken]
    sizes = _numbers(name, "sizes", asked.sizes, {n for _, _, n, _ in own})
    if len(sizes) < FEWEST_SIZES:
        raise TableError(
            f"{name}: task {task} has n = {', '.join(map(str, sizes)) or 'none'} alone; a "
            "learning curve needs at least two sizes"
        )
    seeds = _seeds(name, asked.seeds, {seed for _, _, _, seed in own})
    ladder = _ladder(name, recipes, asked.ladder)
    return Selection(task, taken, sizes, seeds, ladder)


def roles(
    there: Sequence[str], asked: Asked, name: str = ""
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return which recipes are perturbations, and which are stopping points of one training.

    Of those that are there, but for the baseline; a TableError says which is not, in what file.
    """
    perturbations = _names(name, "perturbations", asked.perturbations, there)
    checkpoints = _names(name, "checkpoints", asked.checkpoints, there)
    return (
        # a stopping point may be among the standard perturbations, too
        tuple(each for each in there if each in STANDARD or not is_stopping_point(each))
        if perturbations is None
        else perturbations,
        tuple(filter(is_stopping_point, there)) if checkpoints is None else checkpoints,
    )


def _task(name: str, recipes: Mapping[str, Mapping[str, None]], asked: Any) -> str:
    if asked is not None:
        wanted = getattr(asked, "name", asked)
        if wanted not in recipes:
            raise TableError(
                f"{name}: task={shown(wanted)}{nearest(wanted, recipes)}: it has the tasks "
                f"{', '.join(recipes)}"
            )
        return str(wanted)
    perturbed = [task for task, names in recipes.items() if set(names) != {BASELINE}]
    if len(perturbed) > 1:
        raise TableError(
            f"{name}: {len(perturbed)} of its tasks have perturbations ({', '.join(perturbed)}); "
            f"name the one that is audited, such as task={perturbed[0]!r}"
        )
    return perturbed[0] if perturbed else next(iter(recipes))


def _names(name: str, option: str, asked: Any, there: Sequence[str]) -> tuple[str, ...] | None:
    if asked is None:
        return None
    named = [asked] if isinstance(asked, str) else asked
    names = list(named) if isinstance(named, Iterable) else [named]
    _require_once(name, option, names, asked)
    for each in names:
        if each not in there:
            raise TableError(
                f"{name}: {option}={shown(asked)}{nearest(each, there)}: it has "
                f"{', '.join(there) or 'none'}"
            )
    return tuple(each for each in there if each in names)


def _numbers(name: str, option: str, asked: Any, there: set[int]) -> tuple[int, ...]:
    if asked is None:
        return tuple(sorted(there))
    numbers = list(asked) if isinstance(asked, Iterable) else [asked]
    lacking = [each for each in numbers if isinstance(each, bool) or each not in there]
    if lacking or isinstance(asked, str):
        raise TableError(
            f"{name}: {option}={shown(asked)}: it has {', '.join(map(str, sorted(there)))}"
        )
    _require_once(name, option, numbers, asked)
    return tuple(sorted(int(each) for each in numbers))


def _require_once(name: str, option: str, values: Sequence[Any], asked: Any) -> None:
    if any(values.count(each) > 1 for each in values):
        raise TableError(f"{name}: {option}={shown(asked)}: a value is given twice")


def _seeds(name: str, asked: Any, there: set[int]) -> tuple[int, ...]:
    if isinstance(asked, int) and not isinstance(asked, bool):
        if not 2 <= asked <= len(there):
            raise TableError(f"{name}: seeds={asked}: expected 2 to {len(there)}, which it has")
        return tuple(sorted(there)[:asked])
    if isinstance(asked, str):
        raise TableError(
            f"{name}: seeds={shown(asked)}: nothing is trained here; expected a number of seeds, "
            "or a list of them"
        )
    seeds = _numbers(name, "seeds", asked, there)
    if asked is not None and len(seeds) < 2:
        raise TableError(f"{name}: seeds={shown(asked)}: expected at least two")
    return seeds


def _ladder(name: str, recipes: Mapping[str, Mapping[str, None]], asked: Any) -> tuple[str, ...]:
    there = [task for task, names in recipes.items() if BASELINE in names]
    if asked == NO_LADDER:
        return ()
    named = getattr(asked, "tasks", asked)
    if isinstance(named, list | tuple):
        named = [getattr(each, "name", each) for each in named]
    chosen = _names(name, "ladder", named, there)
    tasks = tuple(there) if chosen is None else chosen
    if asked is not None and len(tasks) < FEWEST_TASKS:
        raise TableError(
            f"{name}: ladder={shown(asked)}: expected at least two tasks, of {', '.join(there)}"
        )
    return tasks if len(tasks) >= FEWEST_TASKS else ()


def ladder_name(tasks: Sequence[str]) -> str:
    """Return what reports call a ladder of these tasks."""
    name = " -> ".join(tasks)
    return name if len(name) <= 200 else f"of {len(tasks)} tasks"
