"""What tests of audits share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from pytest_fragility.networks.runs import Run, TrainedRun
from pytest_fragility.training import trainer


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """A list that every run is added to that is given to the trainer."""
    runs: list[Run] = []
    plain_train = trainer.train

    def train(given: Sequence[Run], device: Any, executors: Any) -> Iterator[list[TrainedRun]]:
        runs.extend(given)
        return plain_train(given, device)

    monkeypatch.setattr(trainer, "train", train)
    return runs
