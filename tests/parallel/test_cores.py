"""What one of several processes takes of the machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from threadpoolctl import threadpool_info

from pytest_fragility.evaluation.asking import evaluate
from pytest_fragility.evaluation.same_function import SameFunctionValues
from pytest_fragility.families.family import Family
from pytest_fragility.networks.trained_network import TrainedNetwork
from pytest_fragility.parallel import cores as sharing
from pytest_fragility.parallel.cores import Share, own_share
from pytest_fragility.parallel.thread_limits import own_cores
from pytest_fragility.store import open_store
from pytest_fragility.training.devices import own_device


@pytest.fixture
def six_cores(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine with six cores, all of which torch may use."""
    monkeypatch.setattr(sharing, "usable_cores", lambda: 6)
    before = torch.get_num_threads()
    torch.set_num_threads(6)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("six_cores")
def test_cores_are_divided() -> None:
    """Each process has its part of the cores, at least one, and no more than the user allows."""
    cases: list[tuple[int, int, int]] = [
        (1, 6, 6),
        (1, 9, 9),
        (2, 6, 3),
        (4, 6, 1),
        (8, 6, 1),
        (2, 2, 2),
        (3, 1, 1),
    ]
    for processes, threads, cores in cases:
        assert Share(0, processes).cores(threads) == cores


@pytest.mark.usefixtures("six_cores")
def test_measures_keep_to_their_cores(small_family: Family) -> None:
    """Torch, NumPy and SciPy use this process's cores while a measure runs, and all again then."""
    seen = set()

    def watching(network: TrainedNetwork) -> float:
        blas = [each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"]
        seen.add((torch.get_num_threads(), max(blas) <= 2))
        return 1.0

    before = threadpool_info()
    with sharing.sharing(Share(1, 3)):
        evaluate(watching, "watching", small_family, "baseline")
        values = SameFunctionValues(watching, "watching", small_family, alpha=0.05, scale="log")
        values.of_symmetry("permutation")
    assert seen == {(2, True)}
    assert torch.get_num_threads() == 6
    assert threadpool_info() == before


@pytest.mark.usefixtures("six_cores")
def test_fewer_threads_are_left_as_they_are() -> None:
    """A share does not raise what the user has set."""
    torch.set_num_threads(1)
    with sharing.sharing(Share(0, 2)), own_cores():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 1


def test_cuda_devices_are_dealt_out() -> None:
    """Workers take the devices in turn, but for the one that the user names."""
    cases: list[tuple[str, Share, int, str]] = [
        ("cuda", Share(0, 4), 2, "cuda:0"),
        ("cuda", Share(1, 4), 2, "cuda:1"),
        ("cuda", Share(6, 4), 4, "cuda:2"),
        ("cuda:1", Share(0, 4), 2, "cuda:1"),
        ("cuda", Share(1, 4), 1, "cuda"),
        ("cuda", Share(), 4, "cuda"),
    ]
    for asked, share, count, taken in cases:
        with sharing.sharing(share):
            assert own_device(torch.device(asked), count) == torch.device(taken)


def test_a_store_in_common_takes_what_has_no_other(tmp_path: Path) -> None:
    """Where nothing is to be kept, processes side by side have a folder in common."""
    kept, common = tmp_path / "kept", tmp_path / "common"
    assert open_store(None) is None
    with sharing.sharing(Share(0, 2, common)):
        for asked, folder in ((kept, kept), (None, common)):
            store = open_store(asked)
            assert store is not None
            assert store.folder == folder
    assert own_share() == Share()
