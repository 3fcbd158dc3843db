"""The catalogue: from names to perturbations, the users' own among them."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from pytest_fragility._util.validation import require_name
from pytest_fragility.errors import SettingsError
from pytest_fragility.perturbations.axes import AXES, Axis
from pytest_fragility.perturbations.effects import perturbed, train_alike
from pytest_fragility.perturbations.perturbation import Perturbation, recalled
from pytest_fragility.perturbations.spelling import PLAIN, name_patterns, parse
from pytest_fragility.recipes import Recipe

CATALOGUE: dict[str, Perturbation] = {
    **PLAIN,
    **{each.name: each for axis in AXES.values() for each in axis.perturbations},
}


def register_perturbation(
    perturbation: Perturbation | Callable[[Recipe], Recipe],
) -> Perturbation:
    """Put a perturbation of one's own into the catalogue: its name then works wherever names do.

    A function is called by its own name, with ``-`` for ``_``, and summed up by its docstring's
    first line; so that this can be used as a decorator. The best place is ``conftest.py``.

    Parameters
    ----------
    perturbation
        A `Perturbation`, or a function that takes a `Recipe` and returns one.

    Returns
    -------
    Perturbation
        What the catalogue now holds.

    Raises
    ------
    SettingsError
        If the name is taken, or cannot be part of a test id.

    Examples
    --------
    >>> @register_perturbation
    ... def smaller_batch(recipe):
    ...     return recipe.replace(batch_size=8)
    >>> get_perturbation("smaller-batch+adam").axis
    'smaller-batch+optimizer'
    """
    made = as_perturbation(perturbation)
    if parse(made.name) or made.name in CATALOGUE or "+" in made.name:
        raise SettingsError(
            f"perturbation {made.name!r} cannot be registered: the name is taken, or is that of a "
            "composition; choose another one"
        )
    made = replace(made, code=recalled(made.name))
    CATALOGUE[made.name] = made
    AXES.setdefault(made.axis, Axis(made.axis, ()))
    AXES[made.axis] = Axis(made.axis, (*AXES[made.axis].directions, (made,)))
    return made


def as_perturbation(change: Perturbation | Callable[[Recipe], Recipe]) -> Perturbation:
    """Return a perturbation as it is, and a function as one."""
    if isinstance(change, Perturbation):
        return change
    name = getattr(change, "__name__", type(change).__name__)
    summary = (getattr(change, "__doc__", None) or "").strip().split("\n")[0].rstrip(".")
    return Perturbation(name.replace("_", "-"), change, summary)


def get_perturbation(name: str) -> Perturbation:
    """Return the perturbation with this name; ``a+b`` does one change after the other.

    Parameters
    ----------
    name
        From the catalogue, or registered; names such as ``lr-x1.5`` or ``momentum-0.8`` are made
        up from the number in them.

    Raises
    ------
    SettingsError
        If there is no such name, or it is none; the nearest right one is named.
    """
    if name != "":
        require_name(name, "perturbation", SettingsError)
    if name in CATALOGUE:
        return CATALOGUE[name]
    if "+" in name:
        first, rest = name.split("+", 1)
        return get_perturbation(first) + get_perturbation(rest)
    made = parse(name)
    if made is not None:
        return made
    near = difflib.get_close_matches(name, CATALOGUE, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    own = [each for each in CATALOGUE if not parse(each)]
    raise SettingsError(
        f"unknown perturbation {name!r}: {hint}The catalogue has "
        f"{', '.join([*name_patterns(), *own])}"
    )


def resolve_perturbations(
    chosen: Iterable[str | Perturbation | Callable[[Recipe], Recipe]],
    baseline: Recipe,
    sizes: Sequence[int] = (),
) -> dict[str, Perturbation]:
    """Return the chosen perturbations by name, each checked to change the baseline as it says.

    A SettingsError says which name is unknown or given twice, which perturbation or part of one
    leaves the baseline as it is, or which two change it alike.
    """
    resolved: dict[str, Perturbation] = {}
    for choice in chosen:
        if not isinstance(choice, str) and not callable(choice):
            raise SettingsError(
                f"perturbation {choice!r}: expected a name from the catalogue, a Perturbation or "
                "a function from Recipe to Recipe"
            )
        perturbation = (
            get_perturbation(choice) if isinstance(choice, str) else as_perturbation(choice)
        )
        if perturbation.name in resolved:
            raise SettingsError(f"perturbation {perturbation.name!r} is given twice")
        changed = perturbed(perturbation, baseline, sizes)
        for other, known in resolved.items():
            if train_alike(known(baseline), changed, sizes):
                raise SettingsError(
                    f"perturbations {other!r} and {perturbation.name!r} change the baseline recipe "
                    "alike; leave one of them out"
                )
        resolved[perturbation.name] = perturbation
    return resolved


# what an audit asks about where nobody says
STANDARD = (
    "lr-x3",
    "lr-x10",
    "momentum",
    "adam",
    "adam-x10",
    "rmsprop",
    "batch-x4",
    "weight-decay",
    "stop-accuracy",
)
