"""The two sides of pytest-xdist: the controller that hands out tests, and its workers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

    from pytest_fragility.parallel.cores import Share

# what the controller hands to a worker: its number, a folder that all of them have in common, and a
# channel that takes the progress of trainings
INDEX_KEY = "fragility_index"
FOLDER_KEY = "fragility_folder"
CHANNEL_KEY = "fragility_progress"


def is_controller(config: pytest.Config) -> bool:
    """Return whether this process has workers run the tests."""
    return bool(config.getoption("dist", "no") != "no")


def is_worker(config: pytest.Config) -> bool:
    """Return whether this process runs tests for a controller."""
    return hasattr(config, "workerinput")


def worker_input(config: pytest.Config) -> dict[str, Any]:
    """Return what the controller has handed to this worker."""
    handed: dict[str, Any] = config.workerinput  # type: ignore[attr-defined]
    return handed


def share_of_worker(config: pytest.Config) -> Share:
    """Return what this worker takes of the machine."""
    # only workers need it
    from pytest_fragility.parallel.cores import Share

    handed = worker_input(config)
    folder = handed.get(FOLDER_KEY)
    return Share(handed.get(INDEX_KEY, 0), handed["workercount"], Path(folder) if folder else None)
