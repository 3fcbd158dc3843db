"""Networks and values that exist already, as an audit takes them: nothing is trained for it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_fragility._util.files import read_plain
from pytest_fragility._util.text import shown
from pytest_fragility.checks.registry import ASKED_AS
from pytest_fragility.errors import SettingsError
from pytest_fragility.families.observations import Observed
from pytest_fragility.families.selection import Asked
from pytest_fragility.families.tables import read_table
from pytest_fragility.settings.option import TRAINING, WHAT
from pytest_fragility.settings.options import (
    FAMILY,
    MANIFEST,
    SOURCES,
    TABLE,
    settings_that_say,
)

if TYPE_CHECKING:
    from pytest_fragility.families.checkpoints import Source
    from pytest_fragility.families.family import Family
    from pytest_fragility.families.manifests import GivenArchitectures
    from pytest_fragility.families.measured_family import MeasuredFamily
    from pytest_fragility.tasks import Task

# what a manifest leaves to be said
OF_A_MANIFEST = ("architecture", "architectures")


def given_by(options: Mapping[str, Any]) -> Family | MeasuredFamily:
    """Return what the first of a layer's sources names, with what is asked of it.

    The options name exactly one of ``family``, ``manifest`` and ``table``, and any of the audit's
    others. A SettingsError says that several are named, or one says how networks are trained; a
    TableError, that a file cannot be used.
    """
    named = [name for name in SOURCES if options.get(name) is not None]
    if len(named) > 1:
        raise SettingsError(
            f"{named[0]}= and {named[1]}= are both given; an audit is of one of them"
        )
    (source,) = named
    left_open = OF_A_MANIFEST if source == MANIFEST else ()
    for option in settings_that_say(TRAINING):
        if option not in left_open and options.get(option) not in (None, False, {}):
            raise SettingsError(
                f"{option}={shown(options[option])} says how networks are trained, and {source}= "
                "names what exists already; leave one of them out"
            )
    asked = Asked(**{option: options.get(option) for option in settings_that_say(WHAT)})
    value = options[source]
    if source == MANIFEST:
        return _family_of_manifest(value, options, asked)
    if source == TABLE:
        return known_table(value).audited(asked)
    if not isinstance(value, Observed):
        raise SettingsError(
            f"{FAMILY}={shown(value)}: expected what Family.from_checkpoints or Family.from_table "
            "returns, or a trained Family"
        )
    family: Any = value.audited(asked)
    found: Family | MeasuredFamily = family
    return found


def possible_kinds(given: Observed, scale: str, named: Sequence[str] | None) -> tuple[str, ...]:
    """Return the kinds of checks that are made: all that can be, or those that are named.

    Raises
    ------
    SettingsError
        If one is named that cannot be made.
    """
    lacking = {
        name: next((kind.needs[each] for each in kind.needs if each not in given.offers), "")
        for name, kind in ASKED_AS.items()
    }
    possible = [
        name
        for name, kind in ASKED_AS.items()
        if not lacking[name] and (scale != "linear" or kind.on_linear)
    ]
    for name in named or ():
        if lacking.get(name):
            raise SettingsError(
                f"checks={shown(list(named or ()))}: {name} cannot be made of "
                f"{given.source or 'this family'}: {lacking[name]}. It serves for "
                f"{', '.join(possible)}"
            )
    return tuple(
        [name for name in possible if ASKED_AS[name].is_default] if named is None else named
    )


def known_table(source: Any) -> MeasuredFamily:
    """Return a table, read once as long as its file holds the same."""
    content = _file_content(source)
    return _known_table(*content) if content else read_table(source, TABLE)


@lru_cache(maxsize=16)
def _known_table(path: Path, content: str) -> MeasuredFamily:
    return read_table(path, TABLE)


def _file_content(source: Any) -> tuple[Path, str] | None:
    """Return a file's path with a digest of what it holds; None for what is no file."""
    if not isinstance(source, str | Path) or not str(source) or "\0" in str(source):
        return None
    path = Path(source).absolute()
    try:
        return path, hashlib.sha256(read_plain(path)).hexdigest()
    except OSError:
        return None


def _family_of_manifest(value: Any, options: Mapping[str, Any], asked: Asked) -> Family:

    # networks need torch, and tables do not
    from pytest_fragility.families.checkpoints import named_tasks, read_source
    from pytest_fragility.families.family import Family
    from pytest_fragility.families.manifests import given_architectures

    given = given_architectures(*(options.get(option) for option in OF_A_MANIFEST))
    device = options.get("device", "auto")
    content, tasks = _file_content(value), named_tasks(asked)
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
    from pytest_fragility.families.checkpoints import read_source
    from pytest_fragility.families.family import Family

    return read_source(content[0], given, Family, device=device, tasks=dict(tasks))
