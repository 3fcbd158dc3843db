"""What a store holds: by reading the headers of its entries alone."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_fragility.networks.runs import key_of
from pytest_fragility.store.entries import (
    LENGTH_BYTES,
    DamagedEntryError,
    header_bytes,
    read_metadata,
    run_of,
)
from pytest_fragility.store.store import DAMAGED, RUNS, SUFFIX, left_unfinished


@dataclass(frozen=True)
class StoredRun:
    """An entry of a store.

    Parameters
    ----------
    path
        Its file.
    size
        In bytes.
    used
        When it was written or last read, to a day; seconds since the epoch.
    task
        The name of its task; None where the entry does not say.
    is_current
        Whether this version of torch and of the trainer would read it.
    """

    path: Path
    size: int
    used: float
    task: str | None
    is_current: bool


@dataclass(frozen=True)
class Inventory:
    """All that a store holds.

    Parameters
    ----------
    runs
        Entries, those of other formats among them.
    damaged, unfinished
        Files that were set aside, and what processes that were killed have left.
    """

    runs: tuple[StoredRun, ...]
    damaged: tuple[StoredRun, ...]
    unfinished: tuple[StoredRun, ...]

    @property
    def size(self) -> int:
        """Bytes in all."""
        return sum(each.size for each in (*self.runs, *self.damaged, *self.unfinished))


def take_inventory(folder: Path, environments: Collection[dict[str, str]]) -> Inventory:
    """Return what a store holds.

    Parameters
    ----------
    folder
        The store's.
    environments
        What of this installation stands in keys, for each kind of device.
    """
    runs = [
        run
        for runs_folder in sorted(folder.glob("runs*"))
        for path in stored_files(runs_folder)
        if (run := _described(path, environments if runs_folder.name == RUNS else ()))
    ]
    aside = [run for path in (folder / DAMAGED).glob("*") if (run := _described(path))]
    unfinished = [run for path in left_unfinished(folder) if (run := _described(path))]
    return Inventory(tuple(runs), tuple(aside), tuple(unfinished))


def stored_files(runs_folder: Path) -> Iterator[Path]:
    """Yield the files of entries; what stands in a shelf's place and cannot be opened, too."""
    for shelf in sorted(runs_folder.glob("??")):
        try:
            with os.scandir(shelf) as files:
                found = [Path(file.path) for file in files]
        except FileNotFoundError:
            # another process has removed it, or it is a link to nowhere
            found = [shelf] if shelf.is_symlink() else []
        except OSError:
            found = [shelf]
        yield from found


def key_of_file(path: Path) -> str:
    """Return the key that an entry's place stands for."""
    return path.parent.name + path.name.removesuffix(SUFFIX)


def _described(path: Path, environments: Collection[dict[str, str]] = ()) -> StoredRun | None:
    """Return what a file is; None where another process has removed it."""
    try:
        status = path.lstat()
        metadata = _metadata_of(path)
    except FileNotFoundError:
        return None
    task, is_current = None, False
    with suppress(KeyError, TypeError, ValueError, AttributeError):
        task, identity = run_of(metadata)
        is_current = key_of_file(path) in {key_of(identity, each) for each in environments}
    return StoredRun(path, status.st_size, status.st_mtime, task, is_current)


def _metadata_of(path: Path) -> dict[str, Any]:
    """Return an entry's metadata; none where it has none that can be read."""
    if path.is_symlink() or not path.is_file():
        return {}
    try:
        with path.open("rb") as file:
            start = file.read(LENGTH_BYTES)
            return read_metadata(start + file.read(header_bytes(start) - LENGTH_BYTES))
    except (DamagedEntryError, PermissionError):
        return {}
