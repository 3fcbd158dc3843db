"""Recipes read from plain values, as `Recipe.to_dict` and people write them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from pytest_fragility._util.text import shown
from pytest_fragility.errors import SettingsError
from pytest_fragility.recipes.architectures import ARCHITECTURES, Architecture
from pytest_fragility.recipes.optimizers import SGD, Adam, AdamW, RMSprop
from pytest_fragility.recipes.recipe import Recipe
from pytest_fragility.recipes.schedules import Schedule
from pytest_fragility.recipes.stopping import StoppingRule

OPTIMIZERS = {kind.kind: kind for kind in (SGD, Adam, AdamW, RMSprop)}
ARCHITECTURE_KINDS = {kind.kind: kind for kind in ARCHITECTURES.values()} | ARCHITECTURES
# fields of a recipe that are records themselves
RECORDS = ("optimizer", "schedule", "stopping")


def recipe_from_dict(values: Mapping[str, Any]) -> Recipe:
    """Return the recipe of what `Recipe.to_dict` returns, or of some of it.

    Parameters
    ----------
    values
        Fields of a `Recipe`; those that are left out have their defaults. ``optimizer``,
        ``schedule``, ``stopping`` and ``architecture`` are dicts with ``kind``, or a kind's name
        alone, and an architecture may be an `Architecture`.

    Raises
    ------
    SettingsError
        If a field is unknown, or its value cannot be used.
    """
    known = {field.name for field in dataclasses.fields(Recipe)}
    unknown = [name for name in values if name not in known]
    if unknown:
        raise SettingsError(
            f"Recipe has no field {unknown[0]!r}; expected some of {', '.join(sorted(known))}"
        )
    fields = {name: _read(name, value) for name, value in values.items()}
    return Recipe(**fields)


def architecture_from_dict(value: Any) -> Architecture:
    """Return an architecture of its kind's name, or of a dict with ``kind`` and parameters.

    Raises
    ------
    SettingsError
        If there is no such kind, or it has no such parameter.
    """
    if isinstance(value, Architecture):
        return value
    return _of_kind("architecture", value, ARCHITECTURE_KINDS)  # type: ignore[no-any-return]


def _read(name: str, value: Any) -> Any:
    if name == "architecture":
        return architecture_from_dict(value)
    if name == "optimizer":
        return _of_kind(name, value, OPTIMIZERS)
    if name in RECORDS:
        parts = {"kind": value} if isinstance(value, str) else value
        return _made(name, Schedule if name == "schedule" else StoppingRule, parts)
    return _unpacked(value)


def _of_kind(name: str, value: Any, kinds: Mapping[str, Any]) -> Any:
    parts = {"kind": value} if isinstance(value, str) else value
    kind = parts.get("kind") if isinstance(parts, Mapping) else None
    if not isinstance(parts, Mapping) or not isinstance(kind, str) or kind not in kinds:
        raise SettingsError(
            f"{name}={shown(value)}: expected one of {', '.join(kinds)}, or a dict with one of "
            "them as its kind, and its parameters"
        )
    own = {key: part for key, part in parts.items() if key != "kind"}
    return _made(name, kinds[kind], own)


def _made(name: str, kind: Any, parts: Any) -> Any:
    if not isinstance(parts, Mapping):
        raise SettingsError(f"{name}={shown(parts)}: expected a name, or a dict of parameters")
    fields = {field.name for field in dataclasses.fields(kind)}
    unknown = [key for key in parts if key not in fields]
    if unknown:
        raise SettingsError(
            f"{name}={shown(dict(parts))}: no parameter {shown(unknown[0])}; expected some of "
            f"{', '.join(sorted(fields))}"
        )
    return kind(**{key: _unpacked(part) for key, part in parts.items()})


def _unpacked(value: Any) -> Any:
    """Return tuples for lists, and whole numbers without a point: JSON does not know them apart."""
    if isinstance(value, list | tuple):
        return tuple(_unpacked(part) for part in value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
