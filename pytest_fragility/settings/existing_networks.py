"""Audits of networks that exist already: trained here before, or listed in a manifest."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from pytest_fragility._util.text import shown
from pytest_fragility.checks.kind import DATA, STOPPING_POINTS, TASKS, TRAINING
from pytest_fragility.checks.registry import unavailable
from pytest_fragility.errors import SettingsError
from pytest_fragility.families.checkpoint_runs import TaskWithoutData
from pytest_fragility.families.checkpoints import Source, read_source
from pytest_fragility.families.family import Family
from pytest_fragility.families.manifests import GivenArchitectures, given_architectures
from pytest_fragility.families.selection import Asked, roles
from pytest_fragility.perturbations import BASELINE
from pytest_fragility.settings.given import (
    Given,
    file_content,
)
from pytest_fragility.settings.options import FAMILY, MANIFEST
from pytest_fragility.tasks import Ladder, Task


def given_networks(
    source: str, value: Any, asked: Asked, device: str, *, architecture: Any, architectures: Any
) -> Given:
    """Return the networks of a manifest or a family, and which checks they serve for."""
    if source == MANIFEST:
        known = given_architectures(architecture, architectures)
        family = _family_of_manifest(value, known, device, asked)
    elif not isinstance(value, Family):
        raise SettingsError(
            f"{FAMILY}={shown(value)}: expected what Family.from_checkpoints or Family.from_table "
            "returns, or a trained Family"
        )
    elif value.origin:
        _require_own_tasks(value, asked)
        family = value if asked == Asked() else value.origin.select(asked)
    else:
        family = _trained_here(value, asked)
    origin, ladder = family.origin, family.plan.ladder
    there = [name for name in family.recipes if name != BASELINE]
    perturbations, checkpoints = roles(there, asked)
    lacking = {
        TRAINING: not family.equivalents,
        STOPPING_POINTS: not checkpoints,
        TASKS: not ladder,
        DATA: origin is not None and not origin.has_samples,
    }
    return Given(
        family=family,
        task=family.task,
        recipes=family.descriptions,
        perturbations=perturbations,
        checkpoints=checkpoints,
        sizes=family.sizes,
        seeds=family.seeds,
        ladder=ladder.name if ladder else None,
        unavailable=unavailable(name for name, lacks in lacking.items() if lacks),
    )


def _require_own_tasks(family: Family, asked: Asked) -> None:
    """Raise a SettingsError where a task is handed over whose data would be left out."""
    own = {each.task.name: each.task for each in (family, *family.rungs)}
    for name, task in _named_tasks(asked):
        known = own.get(name, task)
        is_known = not isinstance(known, TaskWithoutData)
        if known is task or (is_known and known.data.fingerprint == task.data.fingerprint):
            continue
        raise SettingsError(
            f"task {name!r}: family= has one of this name, with other data; hand yours over where "
            f"the family is made: Family.from_checkpoints(..., tasks={{{name!r}: ...}})"
        )


def _trained_here(family: Family, asked: Asked) -> Family:
    if asked != Asked():
        named = next(name for name, value in vars(asked).items() if value is not None)
        raise SettingsError(
            f"{named}={shown(getattr(asked, named))}: family= is a family that was trained here, "
            "and is audited as it is"
        )
    if BASELINE not in family.recipes:
        raise SettingsError(f"family=: it has no recipe {BASELINE!r}, but {list(family.recipes)}")
    return family


def _family_of_manifest(value: Any, given: GivenArchitectures, device: str, asked: Asked) -> Family:
    content, tasks = file_content(value), _named_tasks(asked)
    if content is None:
        return read_source(value, given, Family, device=device, tasks=dict(tasks)).family(asked)
    source = _known_source(content, given, device, tasks)
    if not source.is_current:
        _known_source.cache_clear()
        source = _known_source(content, given, device, tasks)
    return source.family(asked)


@lru_cache(maxsize=8)
def _known_source(
    content: tuple[Path, str],
    given: GivenArchitectures,
    device: str,
    tasks: tuple[tuple[str, Task], ...],
) -> Source[Family]:
    """Return what families are made of, once as long as the manifest holds the same."""
    return read_source(content[0], given, Family, device=device, tasks=dict(tasks))


def _named_tasks(asked: Asked) -> tuple[tuple[str, Task], ...]:
    """Return the tasks that an audit hands over, by the names that the manifest gives them."""
    ladder = asked.ladder.tasks if isinstance(asked.ladder, Ladder) else asked.ladder
    given = [asked.task, *(ladder if isinstance(ladder, list | tuple) else ())]
    named: dict[str, Task] = {}
    for each in given:
        if isinstance(each, Task) and named.setdefault(each.name, each) is not each:
            raise SettingsError(
                f"two tasks are called {each.name!r}, and the manifest names one of them; hand "
                "over one, or tell them apart by another name, there and here"
            )
    return tuple(named.items())
