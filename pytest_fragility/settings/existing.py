"""Networks and values that exist already, as an audit takes them: nothing is trained for it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_fragility._util.files import read_plain
from pytest_fragility._util.text import shown
from pytest_fragility._util.validation import require_name
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
from pytest_fragility.families.checkpoint_runs import TaskWithoutData
from pytest_fragility.families.checkpoints import Source, read_source
from pytest_fragility.families.family import Family
from pytest_fragility.families.manifests import (
    GivenArchitectures,
    given_architectures,
)
from pytest_fragility.families.measured_family import MeasuredFamily
from pytest_fragility.families.selection import Asked, ladder_name, roles
from pytest_fragility.families.tables import read_table
from pytest_fragility.perturbations import BASELINE
from pytest_fragility.settings.options import FAMILY, MANIFEST, SOURCES, TABLE
from pytest_fragility.tasks import Ladder, Task

if TYPE_CHECKING:
    pass


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
    unavailable = dict(NEEDS_TRAINING) | ({} if checkpoints else NEEDS_STOPPING_POINTS)
    if family.equivalents:
        del unavailable["equivalence"]
    if not ladder:
        unavailable[COMPLEXITY] = NEEDS_TASKS[COMPLEXITY]
    if origin and not origin.has_samples:
        unavailable[SYMMETRY] = NEEDS_DATA[SYMMETRY]
    return Given(
        family=family,
        task=family.task,
        recipes=family.descriptions,
        perturbations=perturbations,
        checkpoints=checkpoints,
        sizes=family.sizes,
        seeds=family.seeds,
        ladder=ladder.name if ladder else None,
        unavailable=unavailable,
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


# what of a file is audited
ASKED = ("task", "perturbations", "checkpoints", "sizes", "seeds", "ladder")
# what says how networks are trained
OF_TRAINING = ("recipe", "profile", "locate", "budget")
# what a manifest leaves to be said
OF_A_MANIFEST = ("architecture", "architectures")
NEEDS_TRAINING = {
    EQUIVALENCE: "it compares trainings that are made for it",
}
NEEDS_STOPPING_POINTS = {
    STOPPING: "it compares recipes that only stop elsewhere, such as stop-accuracy or past-x2, "
    "and none is called so; checkpoints= names them"
}
NEEDS_NETWORKS = {SYMMETRY: "it changes networks, of which a table has only values"}
NEEDS_DATA = {SYMMETRY: "it verifies changes on the networks' own samples, which are not known"}
NEEDS_TASKS = {COMPLEXITY: "it compares tasks, of which there is but one with a baseline"}


@dataclass(frozen=True, eq=False)
class Given:
    """What exists already, and which checks it serves for.

    Parameters
    ----------
    family
        Networks, or a table's values.
    task
        The audited one; of a table, one without data.
    recipes
        Descriptions by name, the baseline first.
    perturbations, checkpoints
        Names of the recipes that are judged as such; some may be both.
    sizes, seeds
        Ascending.
    ladder
        What reports call the tasks that are compared; None where there are none.
    unavailable
        By kind of check: why it cannot be made.
    """

    family: Family | MeasuredFamily
    task: Task
    recipes: Mapping[str, str]
    perturbations: tuple[str, ...]
    checkpoints: tuple[str, ...]
    sizes: tuple[int, ...]
    seeds: tuple[int, ...]
    ladder: str | None
    unavailable: Mapping[str, str]

    @property
    def source(self) -> str:
        """What reports say of where it comes from; empty for networks trained here."""
        return self.family.source

    @property
    def is_table(self) -> bool:
        """Whether values are there, and no networks."""
        return isinstance(self.family, MeasuredFamily)

    def require_networks(self) -> Family:
        """Return the networks.

        Raises
        ------
        SettingsError
            If there are only values.
        """
        if isinstance(self.family, MeasuredFamily):
            raise SettingsError(
                f"the trained_family fixture needs networks, and {self.family.name} holds values"
            )
        return self.family

    def name_of(self, measure: Any, name: str | None) -> str:
        """Return what reports call a table's column.

        Raises
        ------
        TableError
            If there is none of this name.
        """
        assert isinstance(self.family, MeasuredFamily)
        column = self.family.require_measure(measure)
        found = column if name is None else name
        require_name(found, "measure", SettingsError)
        return found


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
    refused = [*OF_TRAINING, *(OF_A_MANIFEST if source != MANIFEST else [])]
    for option in refused:
        if options.get(option) not in (None, False, {}):
            raise SettingsError(
                f"{option}={shown(options[option])} says how networks are trained, and {source}= "
                "names what exists already; leave one of them out"
            )
    asked = Asked(**{option: options.get(option) for option in ASKED})
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


def file_content(source: Any) -> tuple[Path, str] | None:
    """Return a file's path with a digest of what it holds; None for what is no file."""
    if not isinstance(source, str | Path) or not str(source) or "\0" in str(source):
        return None
    path = Path(source).absolute()
    try:
        return path, hashlib.sha256(read_plain(path)).hexdigest()
    except OSError:
        return None
