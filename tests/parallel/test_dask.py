"""Training and measuring on a Dask cluster: a scheduler and two worker processes."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pytest_fragility import MLP, Factory, Recipe, audit, fixed_steps
from pytest_fragility.errors import MeasureError, SettingsError
from pytest_fragility.evaluation.asking import evaluate
from pytest_fragility.families.family import Family
from pytest_fragility.families.plan import FamilyPlan
from pytest_fragility.families.train import train_families
from pytest_fragility.measures import oracle_test_error, pac_bayes_origin, path_norm
from pytest_fragility.parallel import dask_clusters
from pytest_fragility.parallel.dask_clusters import connect
from pytest_fragility.parallel.failures import LostWorkerWarning, WorkerTraceback
from pytest_fragility.parallel.futures import Executors
from pytest_fragility.perturbations import BASELINE, get_perturbation
from pytest_fragility.store import Store
from pytest_fragility.tasks import Task

distributed = pytest.importorskip("distributed")

CPU = torch.device("cpu")
HERE = os.getpid()


@pytest.fixture(scope="module")
def dask_client() -> Iterator[Any]:
    """A client of a Dask cluster: a scheduler and two worker processes of one thread each.

    It ends with this module: its threads import modules at any time, and pytester, which other
    modules use, empties ``sys.modules`` for a moment, after which a module may stand there twice.
    """
    with (
        distributed.LocalCluster(
            processes=True, n_workers=2, threads_per_worker=1, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


def plan_of(task: Task, architecture: Any) -> FamilyPlan:
    """Return baseline and Adam, two sizes, three seeds: 12 networks."""
    recipe = Recipe(architecture=architecture, batch_size=8, stopping=fixed_steps(60))
    recipes = {BASELINE: recipe, "adam": get_perturbation("adam")(recipe)}
    return FamilyPlan(task, recipes, (16, 32), (0, 1, 2))


def bits(family: Family) -> Any:
    """Return the weights and records of a family's runs."""
    runs = [family.trained_run(*place) for place in family.plan.runs]
    return [
        (
            {name: weight.numpy().tobytes() for name, weight in sorted(run.weights.items())},
            run.record,
        )
        for run in runs
    ]


def saved(store: Store, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the keys under which runs are saved from now on."""
    keys: list[str] = []
    save = store.save

    def noted(trained: Any, key: str) -> None:
        keys.append(key)
        save(trained, key)

    monkeypatch.setattr(store, "save", noted)
    return keys


def own(network: Any) -> float:
    """Sum the squared weights; names of this module are known to no worker."""
    assert os.getpid() != HERE or __name__ in sys.modules
    assert os.getpid() == HERE or __name__ not in sys.modules
    return sum(float(p.detach().square().sum()) for p in network.model.parameters())


def crashing(network: Any) -> float:
    """Fail."""
    raise ValueError("no measure today")


def test_a_cluster_trains_and_measures_the_same_bits(
    blobs: Task, dask_client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each run is saved once, here; measures of a test, of the literature, and of test data."""
    plan = plan_of(blobs, MLP(hidden=(8,)))
    executors = Executors(dask_client.get_executor())
    store = Store(tmp_path)
    keys = saved(store, monkeypatch)
    assert executors.workers == 2
    (found,) = train_families([plan], device=CPU, store=store, executors=executors)
    (expected,) = train_families([plan], device=CPU)
    assert bits(found) == bits(expected)
    assert len(keys) == len(set(keys)) == len(plan.runs)
    for measure in (own, path_norm, pac_bayes_origin, oracle_test_error):
        values = evaluate(measure, "it", found, BASELINE)
        np.testing.assert_array_equal(values, evaluate(measure, "it", expected, BASELINE))
    with pytest.raises(MeasureError, match=r"n=16, seed 0: raised ValueError: no meas") as caught:
        evaluate(crashing, "it", found, BASELINE)
    assert isinstance(caught.value.__cause__, WorkerTraceback)
    assert "in crashing" in str(caught.value.__cause__)


def waiting(marker: str) -> Factory:
    """Return an architecture with which the first worker waits to be killed."""

    def build(input_shape: Any, classes: int) -> nn.Module:
        if os.getpid() != HERE and not Path(marker).exists():
            Path(f"{marker}.new").write_text(str(os.getpid()))
            Path(f"{marker}.new").rename(marker)
            time.sleep(60)
        return nn.Linear(input_shape[0], classes)

    return Factory(build, version="1")


def kill_once_there(marker: Path) -> None:
    """Kill the process whose number a file gives, when there is that file."""
    while not marker.exists():
        time.sleep(0.01)
    os.kill(int(marker.read_text()), signal.SIGKILL)


def test_what_a_killed_worker_had_is_done_by_another(
    blobs: Task, dask_client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker killed in the middle of a shard: Dask has it done again, each run is saved once."""
    plan = plan_of(blobs, waiting(str(tmp_path / "pid")))
    store = Store(tmp_path / "store")
    keys = saved(store, monkeypatch)
    before = set(dask_client.nthreads())
    killer = threading.Thread(target=kill_once_there, args=(tmp_path / "pid",))
    killer.start()
    executors = Executors(dask_client.get_executor())
    (found,) = train_families([plan], device=CPU, store=store, executors=executors)
    killer.join()
    assert len(keys) == len(set(keys)) == len(plan.runs)
    assert bits(found) == bits(train_families([plan], device=CPU)[0])
    dask_client.wait_for_workers(2)
    assert set(dask_client.nthreads()) != before


def test_an_audit_by_the_address_of_a_cluster(blobs: Task, dask_client: Any) -> None:
    """It says what one without says, and leaves the cluster as it is."""
    address = dask_client.scheduler.address
    recipe = Recipe(architecture=MLP(hidden=(8,)), batch_size=8, stopping=fixed_steps(60))
    options: dict[str, Any] = {
        "task": blobs,
        "recipe": recipe,
        "sizes": (16, 32),
        "seeds": 3,
        "perturbations": ["adam"],
        "ladder": "none",
        "checks": ["trend", "spread"],
        "cache_dir": None,
    }
    here = audit(own, **options)
    there = audit(own, executor=lambda: connect(address), **options)
    assert there.to_dict() == here.to_dict()
    assert dask_client.submit(abs, -3).result() == 3


def test_nobody_at_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names it, and says what was expected."""
    monkeypatch.setattr(dask_clusters, "SECONDS", 0.3)
    for address in ("tcp://127.0.0.1:9", "nonsense://here"):
        with pytest.raises(SettingsError, match=rf"--fragility-dask={address}: no Dask scheduler"):
            connect(address)


def test_a_lost_connection(blobs: Task, dask_client: Any) -> None:
    """What a cluster out of reach was to do is done here, in a later training too."""
    executor = connect(dask_client.scheduler.address)
    executor.shutdown()
    executors = Executors(executor)
    plan = plan_of(blobs, MLP(hidden=(8,)))
    with pytest.warns(LostWorkerWarning, match="trained by this process"):
        (found,) = train_families([plan], device=CPU, executors=executors)
    assert len(found) == len(plan.runs)


def test_a_client_is_no_executor(dask_client: Any) -> None:
    """The message says what is."""
    with pytest.raises(SettingsError, match=r"of a Dask client, client\.get_executor\(\)"):
        Executors(dask_client)
