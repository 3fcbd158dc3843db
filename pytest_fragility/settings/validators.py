"""Numbers, names and folders that an audit is asked for: checked, or an error that says why."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_fragility._util.imports import load
from pytest_fragility._util.text import LONGEST_NAME, nearest, shown
from pytest_fragility._util.validation import is_number, is_whole
from pytest_fragility.checks.kind import TASKS
from pytest_fragility.checks.registry import ASKED_AS, any_needs, kinds_asked
from pytest_fragility.curves.resources import STOPPING_POINTS
from pytest_fragility.errors import SettingsError
from pytest_fragility.perturbations import (
    AXES,
    Perturbation,
    changes_recipe,
    get_perturbation,
    resolve_perturbations,
)
from pytest_fragility.recipes import Recipe
from pytest_fragility.settings.option import Option
from pytest_fragility.settings.options import NO_LADDER
from pytest_fragility.settings.profiles import Profile
from pytest_fragility.tasks import Ladder, Task, get_ladder, get_task
from pytest_fragility.tasks.ladders import LADDERS

# as a 64-bit number holds them
MOST = 2**63 - 1
MOST_SEEDS = 10_000
# seconds: three years, which all clocks can hold
LONGEST = 100_000_000
# below it, an interval's ends are no numbers any more
LEAST_ALPHA = 1e-9
# each about half as many more as all before; fewer than five decide next to nothing
LOOKS = (5, 8, 13, 21)
_DEVICE = re.compile(r"auto|cpu|cuda(:[0-9]{1,3})?")
_AUTO = re.compile(r"auto(?:-([0-9]{1,9}))?")


def choose(option: str, value: Any, known: Mapping[str, Any]) -> Any:
    """Return what a name stands for among those that are known."""
    if not isinstance(value, str) or value not in known:
        raise SettingsError(
            f"{option}={shown(value)}{nearest(value, known)}: expected {', '.join(known)}"
        )
    return known[value]


def listed(option: str, value: Any) -> list[Any]:
    """Return the values of a list of names."""
    if not isinstance(value, Iterable):
        raise SettingsError(f"{option}={shown(value)}: expected a list of names")
    return list(value)


def checked_sizes(values: Any) -> tuple[int, ...]:
    """Return training set sizes, ascending."""
    sizes = tuple(sorted(_whole_numbers("sizes", values, 1)))
    if len(sizes) < 2:
        raise SettingsError(f"sizes={shown(values)}: a learning curve needs at least two sizes")
    return sizes


def checked_seeds(values: Any) -> tuple[int, ...]:
    """Return seeds: those that are listed, or the first so many."""
    is_count = isinstance(values, int) and not isinstance(values, bool)
    if is_count and values > MOST_SEEDS:
        raise SettingsError(f"seeds={shown(values)}: expected at most {MOST_SEEDS:,}")
    seeds = tuple(range(values)) if is_count else _whole_numbers("seeds", values, 0)
    if len(seeds) < 2:
        raise SettingsError(
            f"seeds={shown(values)}: expected at least two seeds (a number of them, or a list), "
            "since intervals are taken over seeds"
        )
    return seeds


def checked_looks(value: Any) -> tuple[int, ...]:
    """Return with how many seeds checks are looked at: up to 21, or to what ``auto-N`` says."""
    if not isinstance(value, str):
        return ()
    found = _AUTO.fullmatch(value)
    most = int(found[1] or LOOKS[-1]) if found else 0
    if not LOOKS[0] <= most <= MOST_SEEDS:
        raise SettingsError(
            f"seeds={shown(value)}: expected a number, a list of numbers, auto, or auto-N with N "
            f"the largest number of seeds, {LOOKS[0]} or more and at most {MOST_SEEDS:,}"
        )
    looks = list(LOOKS)
    while looks[-1] < most:
        looks.append(looks[-1] + looks[-2])
    return (*(look for look in looks if look < most), most)


def checked_folder(option: str, value: Any) -> Path:
    """Return the folder of the store."""
    if not isinstance(value, str | Path):
        raise SettingsError(f"{option}={shown(value)}: expected a path, or None to keep nothing")
    if isinstance(value, str) and ("\0" in value or not value):
        raise SettingsError(
            f"{option}={shown(value)}: expected the name of a folder, without null characters"
        )
    return Path(value)


def _rule(
    is_right: Callable[[Any], Any], expected: str, make: Callable[[Any], Any] = float
) -> Callable[[str, Any], Any]:
    """Return a function of an option's name and value, which returns the value or says why not."""

    def checked(option: str, value: Any) -> Any:
        if not is_right(value):
            raise SettingsError(f"{option}={shown(value)}: expected {expected}")
        return make(value)

    return checked


# of options that depend on no other, by what they take
CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "number": _rule(
        lambda value: is_number(value) and value >= 0, "a number, zero or more, not infinite"
    ),
    "rate": _rule(
        lambda value: is_number(value) and LEAST_ALPHA <= value < 1,
        f"a number between 0 and 1, such as 0.05, and at least {LEAST_ALPHA:g}",
    ),
    "seconds": _rule(
        lambda value: is_number(value) and 0 < value <= LONGEST,
        f"seconds, more than zero and at most {LONGEST:,}",
    ),
    "whole": _rule(
        lambda value: is_whole(value, 0, MOST), "a number of networks, zero or more", int
    ),
    "device": _rule(
        lambda value: isinstance(value, str) and _DEVICE.fullmatch(value),
        "auto, cpu, cuda or cuda:<number>",
        str,
    ),
    "folder": checked_folder,
}


def checked_alone(option: Option, value: Any) -> Any:
    """Return the value of an option that depends on no other; None stays what it is."""
    if value is None:
        return None
    if option.choices:
        return choose(option.name, value, {name: name for name in option.choices})
    return CHECKS[option.takes](option.name, value)


def _whole_numbers(option: str, values: Any, least: int) -> tuple[int, ...]:
    try:
        numbers = tuple(operator.index(number) for number in values)
        has_flags = any(isinstance(number, bool) for number in values)
    except TypeError:
        numbers, has_flags = (), True
    if has_flags or not all(is_whole(number, least, MOST) for number in numbers):
        raise SettingsError(
            f"{option}={shown(values)}: expected a list of whole numbers from {least} up, below "
            "2^63"
        )
    if len(set(numbers)) != len(numbers):
        raise SettingsError(f"{option}={shown(values)}: a value is given twice")
    return numbers


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
    if not any_needs(kinds, STOPPING_POINTS):
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
            f"or checks=... without 'stopping'"
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
    named = [value] if isinstance(value, str) else value
    possible = [name for name, kind in ASKED_AS.items() if scale == "log" or kind.on_linear]
    if value is None:
        chosen = [(name, ASKED_AS[name]) for name in possible]
        return tuple(n for n, k in chosen if k.is_default and (ladder or k.rests_on != TASKS))
    kinds = tuple(listed("checks", named))
    if not kinds or len(set(map(shown, kinds))) != len(kinds):
        raise SettingsError(
            f"checks={shown(value)}: expected some of {', '.join(ASKED_AS)}, each once"
        )
    for kind in kinds_asked(kinds):
        if kind.rests_on == TASKS and ladder is None:
            raise SettingsError(
                f"checks={shown(value)}: {kind.asked_as} needs a ladder, and ladder='none'"
            )
    for kind in kinds:
        if kind not in possible:
            raise SettingsError(
                f"checks={shown(value)}: {kind} needs scale='log'; on a linear scale only "
                f"{', '.join(possible)} can be checked"
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
