"""Trained runs on disk, so that each is trained once; nothing is ever unpickled."""

from pytest_fragility.store.store import (
    DamagedEntryWarning,
    NotStoredWarning,
    Store,
    UnlockedStoreWarning,
    open_store,
)

__all__ = ["DamagedEntryWarning", "NotStoredWarning", "Store", "UnlockedStoreWarning", "open_store"]
