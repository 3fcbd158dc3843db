"""Trained runs on disk, so that each is trained once; nothing is ever unpickled.

`Store` loads and saves runs by key. An entry is written whole or not at all, and is validated
each time it is read. What belongs to a run's key is for `networks.runs` and `training` to say.
"""

from pytest_fragility.store.store import (
    DamagedEntryWarning,
    NotStoredWarning,
    Store,
    UnlockedStoreWarning,
    open_store,
)

__all__ = ["DamagedEntryWarning", "NotStoredWarning", "Store", "UnlockedStoreWarning", "open_store"]
