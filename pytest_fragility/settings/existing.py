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
from pytest_fragility.families.selection import Asked, ladder_name
from pytest_fragility.families.tables import MeasuredFamily, read_table
from pytest_fragility.names import require_name
from pytest_fragility.settings import MANIFEST, SOURCES, TABLE
from pytest_fragility.tasks import Task

if TYPE_CHECKING:
    from pytest_fragility.curves import LearningCurves
    from pytest_fragility.families.trained_family import Family

    pass


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

    def curves(
        self,
        measure: Any,
        *,
        name: str | None,
        alpha: float,
        scale: str,
        fit: str,
        timeout: float | None = None,
    ) -> LearningCurves:
        """Return the learning curves of a measure: a table's column, or a function."""
        if isinstance(self.family, MeasuredFamily):
            return self.family.curves(measure, name=name, alpha=alpha, scale=scale, fit=fit)
        from pytest_fragility.evaluation.learning_curves import learning_curves

        return learning_curves(
            measure,
            self.family,
            alpha=alpha,
            scale=scale,
            fit=fit,
            name=name,
            measure_timeout=timeout,
        )


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
    from pytest_fragility.families.checkpoints import given_networks

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
