"""Work that other processes and machines do, and what travels to them and back."""

from __future__ import annotations

from pytest_fragility.executors.batches import Batch, Lost
from pytest_fragility.parallel.futures import Executors

__all__ = ["Batch", "Executors", "Lost"]
