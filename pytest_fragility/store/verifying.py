"""Reading every byte of a store."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

from pytest_fragility.store.entries import read_metadata, require_checksum
from pytest_fragility.store.inventory import stored_files
from pytest_fragility.store.store import RUNS, Store
from pytest_fragility.store.validation import require_plain_file

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
