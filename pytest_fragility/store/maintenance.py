"""Removing what a store need not keep."""

from __future__ import annotations

import errno
import math
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from pytest_fragility.store.entries import read_metadata, require_checksum
from pytest_fragility.store.entry_validation import require_plain_file
from pytest_fragility.store.inventory import StoredRun, stored_files, take_inventory
from pytest_fragility.store.store import RUNS, Store


def prune(
    folder: Path, *, max_age: float | None = None, max_size: int | None = None
) -> list[StoredRun]:
    """Remove runs from a store, and return what was removed.

    What was set aside as damaged, and what processes that were killed have left, goes in any case.
    Entries of other versions are treated as all others. An audit that runs meanwhile trains again
    what it misses.

    Parameters
    ----------
    folder
        The store's.
    max_age
        Remove runs that were not used for so many seconds; None has no limit.
    max_size
        Then remove those that were used longest ago until the rest takes at most so many bytes;
        None has no limit.
    """
    inventory = take_inventory(folder, ())
    oldest = -math.inf if max_age is None else time.time() - max_age
    most = math.inf if max_size is None else max_size
    chosen = chosen_for_removal(inventory.runs, oldest=oldest, most=most)
    removed = [*inventory.damaged, *inventory.unfinished, *chosen]
    for run in removed:
        _remove(run.path)
    return removed


def chosen_for_removal(
    runs: Iterable[StoredRun], *, oldest: float, most: float
) -> Iterator[StoredRun]:
    """Yield the runs that were last used before `oldest`, or that `most` bytes do not hold.

    What was used last stays.
    """
    kept = 0
    for run in sorted(runs, key=lambda run: -run.used):
        kept += run.size
        if run.used < oldest or kept > most:
            yield run


def _remove(path: Path) -> None:
    # what was set aside need not be a file
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


# bytes: more than the weights of any network that is trained in families
LARGEST = 1 << 32


def verify(store: Store) -> Iterator[tuple[Path, str | None]]:
    """Yield every entry with what is wrong with it; None where it is whole.

    Entries that are damaged are set aside; those that may not be read stay where they are.
    """
    for path in stored_files(store.folder / RUNS):
        reason = None
        try:
            if path.is_dir() and not os.access(path, os.R_OK | os.X_OK):
                raise PermissionError(errno.EACCES, "a folder that may not be opened")
            require_plain_file(path, LARGEST)
            data = path.read_bytes()
            require_checksum(data)
            read_metadata(data)
        except FileNotFoundError:
            # another process has removed it
            continue
        except OSError as error:
            # which says nothing of what it holds
            reason = f"cannot be read ({error.strerror})"
        except ValueError as error:
            reason = f"{error}; {store.set_aside(path)}"
        yield path, reason
