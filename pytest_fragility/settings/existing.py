"""Networks and values that exist already, as an audit takes them: nothing is trained for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from pytest_fragility._util.text import shown
from pytest_fragility.checks.check import (
    COMPLEXITY,
    EQUIVALENCE,
    EXPONENT,
    SPREAD,
    STOPPING,
    SYMMETRY,
    TREND,
)
from pytest_fragility.errors import SettingsError
from pytest_fragility.families.measured_family import MeasuredFamily
from pytest_fragility.families.selection import Asked, ladder_name
from pytest_fragility.families.tables import read_table
from pytest_fragility.settings.given import (
    NEEDS_NETWORKS,
    NEEDS_STOPPING_POINTS,
    NEEDS_TASKS,
    NEEDS_TRAINING,
    Given,
    file_content,
)
from pytest_fragility.settings.option import TRAINING, WHAT
from pytest_fragility.settings.options import MANIFEST, SOURCES, TABLE, settings_that_say
from pytest_fragility.tasks import Task

# what a manifest leaves to be said
OF_A_MANIFEST = ("architecture", "architectures")


def given_by(options: Mapping[str, Any]) -> Given:
    """Return what the first of a layer's sources names, with what is asked of it.

    Parameters
    ----------
    options
        With exactly one of ``family``, ``manifest`` and ``table``, and any of the audit's others.

    Raises
    ------
    SettingsError
        If several are named, or an option says how networks are trained.
    TableError
        If a file cannot be used.
    """
    named = [name for name in SOURCES if options.get(name) is not None]
    if len(named) > 1:
        raise SettingsError(
            f"{named[0]}= and {named[1]}= are both given; an audit is of one of them"
        )
    (source,) = named
    is_table = source == TABLE or isinstance(options[source], MeasuredFamily)
    left_open = OF_A_MANIFEST if source == MANIFEST else ()
    for option in settings_that_say(TRAINING):
        if option not in left_open and options.get(option) not in (None, False, {}):
            raise SettingsError(
                f"{option}={shown(options[option])} says how networks are trained, and {source}= "
                "names what exists already; leave one of them out"
            )
    asked = Asked(**{option: options.get(option) for option in settings_that_say(WHAT)})
    if is_table:
        family = options[source]
        table = family if isinstance(family, MeasuredFamily) else known_table(family)
        return _of_table(table.select(asked))
    return _of_networks(source, options, asked)


def _of_table(table: MeasuredFamily) -> Given:
    chosen = table.selection

    def load() -> Any:
        raise SettingsError(f"{table.name} holds values, and no data of task {chosen.task}")

    return Given(
        family=table,
        task=Task(chosen.task, load),
        recipes=table.descriptions,
        perturbations=chosen.perturbations,
        checkpoints=chosen.checkpoints,
        sizes=chosen.sizes,
        seeds=chosen.seeds,
        ladder=ladder_name(chosen.ladder) if chosen.ladder else None,
        unavailable={
            **NEEDS_TRAINING,
            **NEEDS_NETWORKS,
            **({} if chosen.checkpoints else NEEDS_STOPPING_POINTS),
            **({} if chosen.ladder else NEEDS_TASKS),
        },
    )


def _of_networks(source: str, options: Mapping[str, Any], asked: Asked) -> Given:

    # networks need torch, and tables do not
    from pytest_fragility.settings.existing_networks import given_networks

    device = options.get("device", "auto")
    said = {option: options.get(option) for option in OF_A_MANIFEST}
    return given_networks(source, options[source], asked, device, **said)


def possible_kinds(given: Given, scale: str, named: Sequence[str] | None) -> tuple[str, ...]:
    """Return the kinds of checks that are made: all that can be, or those that are named.

    Raises
    ------
    SettingsError
        If one is named that cannot be made.
    """
    kinds = [
        kind
        for kind in (TREND, EXPONENT, SPREAD, STOPPING, COMPLEXITY, SYMMETRY, EQUIVALENCE)
        if kind not in given.unavailable
    ]
    if scale == "linear":
        kinds = [kind for kind in kinds if kind in (TREND, SYMMETRY, EQUIVALENCE)]
    for kind in named or ():
        if kind in given.unavailable:
            raise SettingsError(
                f"checks={shown(list(named or ()))}: {kind} cannot be made of "
                f"{given.source or 'this family'}: {given.unavailable[kind]}. It serves for "
                f"{', '.join(kinds)}"
            )
    return tuple(kinds if named is None else named)


def known_table(source: Any) -> MeasuredFamily:
    """Return a table, read once as long as its file holds the same."""
    content = file_content(source)
    return _known_table(*content) if content else read_table(source, TABLE)


@lru_cache(maxsize=16)
def _known_table(path: Path, content: str) -> MeasuredFamily:
    return read_table(path, TABLE)
