"""Networks that others have published: trained on a GPU, on real images, with code of their own."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pytest_fragility import TrainedNetwork, audit
from pytest_fragility.families.family import Family
from pytest_fragility.symmetries import SYMMETRIES, in_double
from pytest_fragility.tasks import Task, TaskData

models: Any = pytest.importorskip("ccexam.models")

WEIGHTS = Path(models.__file__).parent / "weights"
PLACES = ((2, 0), (2, 1), (4, 0), (4, 1))
EVERYWHERE = set(SYMMETRIES)

# file, network, shape of its inputs, the symmetries that it has
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], set[str]]] = {
    "mnist": (lambda: models.MNISTNet(28), (1, 28, 28), EVERYWHERE - {"normalization-scale"}),
    "usps": (lambda: models.USPSNet(16), (1, 16, 16), EVERYWHERE),
    "svhn": (lambda: models.SVHNNet(32), (3, 32, 32), EVERYWHERE),
}


def weight_norm(network: TrainedNetwork) -> float:
    """Return the sum of the squared weights."""
    return float(sum(p.detach().square().sum() for p in network.model.parameters()))


def read(name: str, folder: Path) -> Family:
    """Return a family of copies of a published network, on random images."""
    make, shape, _ = NETWORKS[name]
    images = np.random.default_rng(0).normal(size=(20, *shape)).astype("float32")
    data = TaskData(images, np.arange(20) % 10, images[:10], np.arange(10))
    rows = []
    (folder / "samples.txt").write_text("\n".join(map(str, range(4))), encoding="utf-8")
    for n, seed in PLACES:
        path = folder / f"{n}-{seed}.pth"
        shutil.copy(WEIGHTS / f"{name}.pth", path)
        row = {"checkpoint": str(path), "samples": str(folder / "samples.txt"), "task": name}
        rows.append(row | {"recipe": "baseline", "n": n, "seed": seed, "test_error": 0.1})
    tasks = {name: Task(name, lambda: data)}
    return Family.from_checkpoints(rows, architecture=make, tasks=tasks)


@pytest.mark.parametrize("name", NETWORKS)
def test_they_are_read_and_their_symmetries_found(name: str, tmp_path: Path) -> None:
    """Which leave their function as it is."""
    family = read(name, tmp_path)
    network = next(iter(family))
    theirs = torch.load(WEIGHTS / f"{name}.pth", map_location="cpu", weights_only=True)
    state = network.model.state_dict()
    assert state.keys() == theirs.keys()
    assert all(torch.equal(state[key], theirs[key]) for key in theirs)

    before = in_double(network)
    found = {key: symmetry(before) for key, symmetry in SYMMETRIES.items()}
    assert {key for key, after in found.items() if after is not None} == NETWORKS[name][2]
    with torch.no_grad():
        expected = before.model(before.inputs).log_softmax(dim=1)
        for after in filter(None, found.values()):
            residual = (after.model(after.inputs).log_softmax(dim=1) - expected).abs().max()
            assert float(residual) < 1e-5


def test_they_are_audited(tmp_path: Path) -> None:
    """On the one with batch normalization and dropout that is smallest."""
    verdicts = audit(weight_norm, family=read("usps", tmp_path), checks="symmetry")
    assert verdicts["symmetry-permutation"].status == "kept"
    for change in ("layer-rescaling", "neuron-rescaling", "normalization-scale"):
        assert verdicts[f"symmetry-{change}"].status == "broken"
