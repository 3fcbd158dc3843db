"""Reading every byte of a store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pytest_fragility.store.entries import DamagedEntryError, read_metadata, require_checksum
from pytest_fragility.store.inventory import stored_files
from pytest_fragility.store.store import RUNS, Store


def verify(store: Store) -> Iterator[tuple[Path, str | None]]:
    """Yield every entry with what is wrong with it; None where it is whole.

    Entries that are damaged are set aside.
    """
    for path in stored_files(store.folder / RUNS):
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            # another process has removed it
            continue
        reason = None
        try:
            require_checksum(data)
            read_metadata(data)
        except DamagedEntryError as error:
            reason = f"{error}; {store.set_aside(path)}"
        yield path, reason
