"""Four small networks, saved as a test says and read back through a manifest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pytest_fragility.families.family import Family

State = Mapping[str, torch.Tensor]
PLACES = ((10, 0), (10, 1), (20, 0), (20, 1))


def small() -> nn.Sequential:
    """Return a perceptron with ten hidden neurons, so that its last layer fits behind itself."""
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 10), nn.ReLU(), nn.Linear(10, 10))


def normalized() -> nn.Sequential:
    """Return a network with running statistics and a counter of batches."""
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))


def saved(
    folder: Path,
    save: Callable[[Any, Path], object],
    make: Callable[[], nn.Module] = small,
    ending: str = ".pt",
) -> tuple[list[nn.Module], list[dict[str, Any]]]:
    """Return networks whose tensors are all random, and a manifest's rows of what was saved."""
    networks, rows = [], []
    for n, seed in PLACES:
        torch.manual_seed(n + seed)
        network = make()
        for tensor in network.state_dict().values():
            if tensor.is_floating_point():
                tensor.uniform_(0.5, 1.5)
        networks.append(network)
        save(network, folder / f"{n}-{seed}{ending}")
        file = str(folder / f"{n}-{seed}{ending}")
        row = {"checkpoint": file, "recipe": "baseline", "n": n, "seed": seed}
        rows.append({**row, "test_error": 0.3, "test_size": 100})
    return networks, rows


def states(rows: list[dict[str, Any]], make: Callable[[], nn.Module] = small) -> list[State]:
    """Return what was read of a manifest's networks, in their order."""
    family = Family.from_checkpoints(rows, architecture=make)
    return [each.model.state_dict() for each in family]


def assert_read(
    folder: Path,
    save: Callable[[Any, Path], object],
    make: Callable[[], nn.Module] = small,
    ending: str = ".pt",
) -> None:
    """Assert that what was saved is read, bit by bit."""
    networks, rows = saved(folder, save, make, ending)
    for network, found in zip(networks, states(rows, make), strict=True):
        own = network.state_dict()
        assert own.keys() == found.keys()
        assert all(torch.equal(own[name], found[name]) for name in own)
