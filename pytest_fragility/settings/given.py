"""What exists already, and which checks it serves for."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_fragility._util.files import read_plain
from pytest_fragility._util.validation import require_name
from pytest_fragility.errors import SettingsError
from pytest_fragility.families.measured_family import MeasuredFamily
from pytest_fragility.tasks import Task

if TYPE_CHECKING:
    from pytest_fragility.families.family import Family


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


def file_content(source: Any) -> tuple[Path, str] | None:
    """Return a file's path with a digest of what it holds; None for what is no file."""
    if not isinstance(source, str | Path) or not str(source) or "\0" in str(source):
        return None
    path = Path(source).absolute()
    try:
        return path, hashlib.sha256(read_plain(path)).hexdigest()
    except OSError:
        return None
