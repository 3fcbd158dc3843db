"""Manifests: lists of checkpoints, with what is known of each network."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_fragility._util.files import is_plain
from pytest_fragility._util.imports import load
from pytest_fragility._util.text import nearest, one_line, shown
from pytest_fragility.errors import SettingsError, TableError
from pytest_fragility.families.contradictions import (
    NOT_READ,
    note_repeats,
    note_several_test_sets,
)
from pytest_fragility.families.observations import Observation
from pytest_fragility.perturbations import BASELINE
from pytest_fragility.recipes import Architecture, Recipe
from pytest_fragility.recipes.recipe import OPTIMIZERS, architecture_from_dict, recipe_from_dict
from pytest_fragility.rows.cells import (
    flag,
    not_negative,
    recipe_name,
    share,
    structured,
    text,
    whole,
)
from pytest_fragility.rows.columns import (
    DIVERGED,
    ERROR_COLUMN,
    MISTAKEN,
    REACHED,
    RECIPE,
    SEED,
    TASK,
    TEST_SIZE,
    N,
)
from pytest_fragility.rows.counted_errors import CountedError, read_error
from pytest_fragility.rows.read_rows import read_rows
from pytest_fragility.rows.rows import Problems, Row, Rows

CHECKPOINT, INITIAL, SAMPLES = "checkpoint", "initial_checkpoint", "samples"
ARCHITECTURE = "architecture"
STEPS, TRAIN_LOSS, TRAIN_ERROR = "steps", "train_loss", "train_error"
NEEDED = (CHECKPOINT, RECIPE, N, SEED, ERROR_COLUMN)
RECORDED = (TEST_SIZE, MISTAKEN, STEPS, TRAIN_LOSS, TRAIN_ERROR, REACHED, DIVERGED)
RECIPE_FIELDS = tuple(each.name for each in dataclasses.fields(Recipe))
# an optimizer's parameters may have columns of their own
OF_OPTIMIZER = tuple(
    dict.fromkeys(each.name for kind in OPTIMIZERS.values() for each in dataclasses.fields(kind))
)
KNOWN = (*NEEDED, INITIAL, SAMPLES, TASK, *RECORDED, *RECIPE_FIELDS, *OF_OPTIMIZER)


@dataclass(frozen=True)
class ListedNetwork(Observation):
    """One row of a manifest.

    What the row does not say is None; it `is_described` where it says more of its recipe than the
    architecture.
    """

    counted: CountedError
    checkpoint: Path
    initial_checkpoint: Path | None
    samples: Path | None
    made_by: Recipe
    is_described: bool
    steps: int | None
    train_loss: float | None
    train_error: float | None
    reached_target: bool
    diverged: bool

    @property
    def cells(self) -> dict[str, Any]:
        """Where it is kept, and when it was."""
        return {CHECKPOINT: self.checkpoint, STEPS: self.steps}


@dataclass(frozen=True)
class GivenArchitectures:
    """The architectures that a manifest may be of, besides the built-in ones.

    `default` is of rows that do not say; `named` are by what rows call them.
    """

    default: Architecture | None
    named: tuple[tuple[str, Architecture], ...]


def given_architectures(architecture: Any, architectures: Any) -> GivenArchitectures:
    """Return the architectures that somebody has given, those at ``module:function`` imported.

    Parameters are those of `Family.from_checkpoints`; a SettingsError says which cannot be used.
    """
    if architectures is None:
        architectures = {}
    if not isinstance(architectures, Mapping) or not all(
        isinstance(name, str) for name in architectures
    ):
        raise SettingsError(
            f"architectures={shown(architectures)}: expected a dict from what the manifest says to "
            "architectures"
        )
    # a place is what a manifest may call it, too
    own = {architecture: architecture} if _is_place(architecture) else {}
    return GivenArchitectures(
        None if architecture is None else _made(architecture, ""),
        tuple(
            (name, _made(value, f"architectures, {shown(name)}: "))
            for name, value in {**own, **architectures}.items()
        ),
    )


def _is_place(value: Any) -> bool:
    return isinstance(value, str) and ":" in value


def _made(value: Any, where: str) -> Architecture:
    try:
        found = load(value, ARCHITECTURE) if _is_place(value) else value
        return Recipe(architecture=found).architecture
    except SettingsError as error:
        raise SettingsError(f"{where}{error}") from error.__cause__


def read_manifest(
    source: Any, given: GivenArchitectures, baseline: str = BASELINE
) -> tuple[str, list[ListedNetwork]]:
    """Return a manifest's name and rows; of checkpoints nothing is read but whether they exist.

    Parameters are those of `Family.from_checkpoints`; a TableError names all rows that are wrong.
    """
    rows = read_rows(source, "manifest")
    rows.require_columns(NEEDED)
    for column in rows.columns:
        if column not in KNOWN:
            raise TableError(
                f"{rows.name}: unknown column {column!r}{nearest(column, KNOWN)}; expected some of "
                f"{', '.join(dict.fromkeys(KNOWN))}. Begin its name with '_' to have it left out"
            )
    reader, problems = _Reader(rows, given, baseline), rows.problems
    networks = [each for each in map(reader.network, rows.rows) if each is not None]
    note_repeats(networks, problems)
    _note_shared_files(networks, problems)
    note_several_test_sets(networks, problems)
    problems.raise_if_any()
    _note_renamed_recipes(networks, problems)
    problems.raise_if_any()
    return rows.name, networks


class _Reader:
    """Reads rows; what they call an architecture stands for one that was given, or is built in."""

    def __init__(self, rows: Rows, given: GivenArchitectures, baseline: str) -> None:
        self._rows = rows
        self._default = given.default
        self._named = dict(given.named)
        self._baseline = baseline

    def network(self, row: Row) -> ListedNetwork | None:
        """Return a row; None where something is wrong, which is noted."""
        noted = row.problems.texts
        before = len(noted)
        name = row.need(RECIPE, recipe_name, "")
        row.need(ERROR_COLUMN, share, 0.5)
        recipe, is_described = self._recipe(row)
        counted = None if len(noted) > before else read_error(row)
        found = ListedNetwork(
            row.where,
            row.read(TASK, text, self._rows.stem),
            BASELINE if name == self._baseline else name,
            row.need(N, whole(1), NOT_READ),
            row.need(SEED, whole(0), NOT_READ),
            counted or CountedError(0.5),
            row.need(CHECKPOINT, self._path, Path()),
            row.read(INITIAL, self._path, None),
            row.read(SAMPLES, self._path, None),
            recipe,
            is_described,
            row.read(STEPS, whole(0), None),
            row.read(TRAIN_LOSS, not_negative, None),
            row.read(TRAIN_ERROR, share, None),
            row.read(REACHED, flag, True),
            row.read(DIVERGED, flag, False),
        )
        return None if len(noted) > before else found

    def _path(self, value: Any) -> Path:
        if not isinstance(value, str | Path) or "\0" in str(value):
            raise ValueError("expected a path")
        path = self._rows.folder / value
        where = one_line(str(path))
        try:
            if not is_plain(path):
                raise ValueError(f"{where} is no plain file")
        except (FileNotFoundError, NotADirectoryError):
            raise ValueError(f"there is no file {where}") from None
        except OSError as error:
            raise ValueError(f"{where} cannot be read: {error.strerror or error}") from None
        return path

    def _recipe(self, row: Row) -> tuple[Recipe, bool]:
        """Return the recipe of a row, and whether the row says more of it than the architecture."""
        fields = {
            name: structured(row.cells[name])
            for name in RECIPE_FIELDS
            if name in row.cells and name != ARCHITECTURE
        }
        parameters = {
            name: structured(row.cells[name]) for name in OF_OPTIMIZER if name in row.cells
        }
        is_described = bool(fields or parameters)
        try:
            fields[ARCHITECTURE] = self._architecture_of(row)
            if parameters:
                own = fields.get("optimizer", "sgd")
                own = own if isinstance(own, Mapping) else {"kind": own}
                fields["optimizer"] = {**own, **parameters}
            return recipe_from_dict(fields), is_described
        except SettingsError as error:
            row.note(str(error))
            return Recipe(), False

    def _architecture_of(self, row: Row) -> Architecture:
        value = row.cells.get(ARCHITECTURE)
        if value is None:
            if self._default is None:
                raise SettingsError(
                    "the architecture is not known; add a column architecture (a name), or say "
                    "architecture=..."
                )
            return self._default
        if isinstance(value, str) and value in self._named:
            return self._named[value]
        try:
            return architecture_from_dict(structured(value))
        except SettingsError as error:
            if not isinstance(value, str) or value.startswith("{"):
                raise
            place = value if _is_place(value) else f"{value}=MODULE:FUNCTION"
            raise SettingsError(
                f"{error}. Nothing is imported because a file names it; to allow it, say what it "
                f"stands for: architectures={{{shown(value)}: ...}} in Python, or "
                f"--fragility-architecture={one_line(place)}"
            ) from None


def _note_shared_files(networks: Sequence[ListedNetwork], problems: Problems) -> None:
    """Note rows that list the file of another network."""
    first: dict[Path, ListedNetwork] = {}
    for each in networks:
        other = first.setdefault(each.checkpoint, each)
        if other.place != each.place:
            problems.add(
                each.where,
                f"checkpoint {each.checkpoint.name} stands in {other.where} too, for another "
                "network",
            )


def _note_renamed_recipes(networks: Sequence[ListedNetwork], problems: Problems) -> None:
    """Note a row whose recipe has a name that stands for another recipe."""
    first: dict[tuple[str, str], ListedNetwork] = {}
    for each in networks:
        known = first.setdefault((each.task, each.recipe), each)
        if (known.made_by, known.is_described) != (each.made_by, each.is_described):
            problems.add(
                each.where,
                f"recipe {each.recipe} is {each.made_by}, and {known.made_by} in "
                f"{known.where}; expected one recipe of each name",
            )
            return
