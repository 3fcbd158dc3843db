"""The store of trained runs."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save

from pytest_fragility.errors import StoreError
from pytest_fragility.families.family import Family
from pytest_fragility.families.plan import FamilyPlan
from pytest_fragility.families.train import train_families
from pytest_fragility.networks import NetworkState
from pytest_fragility.networks.runs import Run, TrainedRun, TrainingRecord
from pytest_fragility.recipes import MLP, SGD, Recipe, fixed_steps
from pytest_fragility.store import (
    DamagedEntryWarning,
    NotStoredWarning,
    Store,
    UnlockedStoreWarning,
)
from pytest_fragility.store import store as store_module
from pytest_fragility.store.entries import MISTAKEN, encode, seal
from pytest_fragility.tasks import Task, TaskData
from pytest_fragility.training import trainer
from tests import killed_training
from tests.killed_training import SIZES, train_and_tell
from tests.reference_training import assert_same

CPU = torch.device("cpu")
QUICK = Recipe(architecture=MLP(hidden=(4,)), batch_size=8, stopping=fixed_steps(5))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return Store(tmp_path / "kept")


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """A list that every run is added to that is given to the trainer."""
    runs: list[Run] = []
    plain_train = trainer.train

    def train(
        given: Sequence[Run], device: torch.device, executors: object
    ) -> Iterator[list[TrainedRun]]:
        runs.extend(given)
        return plain_train(given, device)

    monkeypatch.setattr(trainer, "train", train)
    return runs


def plan_of(task: Task, recipe: Recipe = QUICK) -> FamilyPlan:
    """Return a plan of two runs."""
    return FamilyPlan(task, {"baseline": recipe}, (16,), (0, 1))


def train_two(task: Task, store: Store, recipe: Recipe = QUICK) -> Family:
    """Return a family of two runs."""
    return train_families([plan_of(task, recipe)], device=CPU, store=store)[0]


def entries(store: Store) -> list[Path]:
    """Return the stored files of runs, sorted."""
    return sorted(store.folder.rglob("*.safetensors"))


def assert_same_runs(one: Family, other: Family) -> None:
    """Compare two families bit by bit."""
    for place in one.plan.runs:
        assert_same(one.trained_run(*place), other.trained_run(*place))


class OddNetwork(torch.nn.Module):
    """A module with parameters and buffers of several shapes and types."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(2, 3))
        self.bias = torch.nn.Parameter(torch.zeros(3))
        self.register_buffer("running_mean", torch.zeros(3))
        self.register_buffer("num_batches_tracked", torch.tensor(0))


def test_round_trip_keeps_every_bit(blobs: Task, store: Store) -> None:
    """What is loaded is what was saved: names, odd values, dtypes and record."""
    run = Run(blobs, 16, QUICK.replace(architecture=OddNetwork), 0)
    odd = torch.tensor([[0.1, -0.0, float("inf")], [1e-45, 3.4e38, 1 / 3]])
    record = TrainingRecord(1234, True, False, 0.1 + 0.2, 1 / 3, 7, 60)
    mistaken = torch.zeros(60, dtype=torch.bool)
    mistaken[[0, 7, 8, 30, 31, 58, 59]] = True
    saved = TrainedRun(
        run,
        NetworkState(
            {"weight": odd, "bias": odd[0] + 1},
            {"running_mean": odd[1].clone(), "num_batches_tracked": torch.tensor(1 << 40)},
        ),
        NetworkState(
            {"weight": -odd, "bias": odd[1] + 1},
            {"running_mean": -odd[1], "num_batches_tracked": torch.tensor(0)},
        ),
        record,
        mistaken,
    )
    store.save(saved, "ab" * 32)
    loaded = store.load(run, "ab" * 32)
    assert loaded is not None
    assert loaded.run is run
    assert loaded.record == record
    torch.testing.assert_close(loaded.mistaken, mistaken, rtol=0, atol=0)
    assert set(loaded.initial_weights) == {"weight", "bias"}
    assert set(loaded.weights) == {"weight", "bias"}
    for name, weight in saved.weights.items():
        assert loaded.weights[name].dtype == torch.float32
        assert loaded.weights[name].numpy().tobytes() == weight.numpy().tobytes()
    assert loaded.initial_weights["weight"].numpy().tobytes() == (-odd).numpy().tobytes()
    for ours, theirs in ((loaded.state, saved.state), (loaded.initial_state, saved.initial_state)):
        assert set(ours.buffers) == {"running_mean", "num_batches_tracked"}
        for name, buffer in theirs.buffers.items():
            assert ours.buffers[name].dtype == buffer.dtype
            assert ours.buffers[name].numpy().tobytes() == buffer.numpy().tobytes()


def test_a_diverged_run_is_kept_too(
    blobs: Task, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Losses that are no number survive the store."""
    lost = QUICK.replace(optimizer=SGD(lr=1e6, momentum=0.9), stopping=fixed_steps(200))
    train_two(blobs, store, lost)
    monkeypatch.setattr(trainer, "train", None)
    record = train_two(blobs, store, lost).trained_run("baseline", 16, 0).record
    assert record.diverged and not np.isfinite(record.train_loss)


def test_an_unknown_key_is_no_error(blobs: Task, store: Store) -> None:
    """What is not there is None."""
    assert store.load(Run(blobs, 16, QUICK, 0), "cd" * 32) is None


def test_a_run_has_the_name_that_other_versions_gave_it() -> None:
    """Or all stored runs would be lost, and the random numbers of all measures others."""
    inputs = np.arange(6, dtype=float).reshape(3, 2)
    data = TaskData(inputs, [0, 1, 0], -inputs, [1, 0, 1])
    assert data.fingerprint == "70cedc046fdb1a953bf113f04d436fe80ef44a3a31aa7c241cabad7112fc1b3e"
    run = Run(Task("any", lambda: data), 2, QUICK, 0)
    key = run.key({"device": "cpu", "torch": "2", "trainer": "1"})
    assert key == "aef5bd9df59ac3bbed2a0f9974df8ff8899a7944444d4d452b5138b363b2884f"


def test_a_second_family_is_not_trained(
    blobs: Task, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All runs come from the store, as they were: also those that are trained in float64."""
    recipes = QUICK, QUICK.replace(precision="float64")
    first = [train_two(blobs, store, recipe) for recipe in recipes]
    monkeypatch.setattr(trainer, "train", None)
    same = Task("same data", lambda: blobs.data)
    for family, recipe in zip(first, recipes, strict=True):
        assert_same_runs(family, train_two(same, Store(store.folder), recipe))
        dtype = getattr(torch, recipe.precision)
        for network in family:
            oracle = family.oracle_network("baseline", network.n, network.seed)
            held = (network.inputs, oracle.test_inputs, *network.model.parameters())
            assert {each.dtype for each in held} == {dtype}, str(network)


def test_only_what_is_missing_is_trained(blobs: Task, store: Store, trained: list[Run]) -> None:
    """A larger plan trains its new runs alone."""
    train_two(blobs, store)
    larger = FamilyPlan(blobs, {"baseline": QUICK}, (16, 24), (0, 1, 2))
    train_families([larger], device=CPU, store=store)
    assert [(run.n, run.seed) for run in trained[:2]] == [(16, 0), (16, 1)]
    assert sorted((run.n, run.seed) for run in trained[2:]) == [(16, 2), (24, 0), (24, 1), (24, 2)]


def test_without_a_store_nothing_is_kept(
    blobs: Task, trained: list[Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each call trains anew and writes nothing."""
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        train_families([plan_of(blobs)], device=CPU)
    assert len(trained) == 4
    assert not list(tmp_path.iterdir())


def test_a_changed_recipe_or_task_is_trained(blobs: Task, store: Store, trained: list[Run]) -> None:
    """Another recipe, or one other input value, is not taken from the store."""
    train_two(blobs, store)
    train_two(blobs, store, QUICK.replace(optimizer=SGD(lr=0.06)))

    def load() -> TaskData:
        data = blobs.data
        inputs = data.train_inputs.copy()
        inputs[0, 0] = np.nextafter(inputs[0, 0], np.float32(9))
        return TaskData(inputs, data.train_labels, data.test_inputs, data.test_labels)

    train_two(Task("blobs", load), store)
    assert len(trained) == len(entries(store)) == 6


@pytest.mark.parametrize("changed", ["device", "torch", "trainer"])
def test_a_changed_environment_is_trained(
    blobs: Task, store: Store, trained: list[Run], monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    """Another device, torch or trainer makes stored runs stale."""
    train_two(blobs, store)
    environment = trainer.training_environment(CPU)
    assert set(environment) >= {"device", "torch", "trainer"}
    monkeypatch.setattr(
        trainer, "training_environment", lambda device: environment | {changed: "other"}
    )
    train_two(blobs, store)
    assert len(trained) == len(entries(store)) == 4


def test_the_environment_names_device_torch_and_trainer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part follows what it stands for."""
    environment = trainer.training_environment(CPU)
    assert environment["device"] == "cpu"
    assert environment["torch"] == torch.__version__
    assert trainer.training_environment(torch.device("cuda"))["device"] == "cuda"
    monkeypatch.setattr(trainer, "trainer_version", lambda: "next")
    assert trainer.training_environment(CPU) == environment | {"trainer": "next"}


def flip_a_bit(path: Path, where: float) -> None:
    """Change one bit of a file, at that share of its length."""
    data = bytearray(path.read_bytes())
    data[int(where * (len(data) - 1))] ^= 4
    path.write_bytes(data)


def contents(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Return an entry's tensors and metadata."""
    with safe_open(path, framework="pt") as entry:
        return load_file(path), entry.metadata()


def drop_checksum(path: Path) -> None:
    """Leave all but the checksum."""
    tensors, metadata = contents(path)
    del metadata["sha256"]
    path.write_bytes(save(tensors, metadata))


def change_metadata(path: Path, **changes: str) -> None:
    """Leave other metadata, with their checksum."""
    tensors, metadata = contents(path)
    path.write_bytes(seal(save(tensors, metadata | changes)))


def change_mistakes(path: Path, change: Callable[[torch.Tensor], torch.Tensor | None]) -> None:
    """Change which test samples an entry says were mistaken; None leaves them out."""
    tensors, metadata = contents(path)
    mistaken = change(tensors.pop(MISTAKEN))
    if mistaken is not None:
        tensors[MISTAKEN] = mistaken
    path.write_bytes(seal(save(tensors, metadata)))


OTHER_RUN = json.dumps({"task": "blobs", "n": 3, "seed": 99})
DAMAGES: dict[str, Callable[[Path], Any]] = {
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "garbage": lambda path: path.write_bytes(b"\xff\x00garbage" * 50),
    "empty": lambda path: path.write_bytes(b""),
    **{
        f"bit at {where}": partial(flip_a_bit, where=where)
        for where in (0.0, 0.02, 0.1, 0.3, 0.6, 0.9, 1.0)
    },
    "no metadata": lambda path: path.write_bytes(save(contents(path)[0])),
    "no checksum": drop_checksum,
    "no JSON": lambda path: change_metadata(path, record="{steps"),
    "other fields": lambda path: change_metadata(path, record=json.dumps({"mood": 1})),
    # right in itself, and not what the name says
    "another run": lambda path: change_metadata(path, run=OTHER_RUN),
    # as versions wrote it that did not keep which samples were mistaken
    "no mistakes": lambda path: change_mistakes(path, lambda mistaken: None),
    "one more or less": lambda path: change_mistakes(
        path, lambda mistaken: torch.cat([mistaken[:1] ^ 1, mistaken[1:]])
    ),
    "fewer samples": lambda path: change_mistakes(path, lambda mistaken: mistaken[:-1]),
    "another type": lambda path: change_mistakes(path, lambda each: each.to(torch.int64)),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_entry_is_set_aside_and_trained_again(
    blobs: Task, store: Store, trained: list[Run], damage: Any
) -> None:
    """A warning names the file; the other run stays; the next reading is whole."""
    first = train_two(blobs, store)
    path = entries(store)[0]
    damage(path)
    damaged = path.read_bytes()
    with pytest.warns(DamagedEntryWarning, match="training it again") as caught:
        again = train_two(blobs, store)
    assert len(caught) == 1 and path.name in str(caught[0].message)
    assert_same_runs(first, again)
    assert len(trained) == 3
    aside = store.folder / "damaged" / (path.parent.name + path.name)
    assert aside.read_bytes() == damaged
    assert_same_runs(first, train_two(blobs, store))
    assert len(trained) == 3


@pytest.fixture
def untold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no warning of any folder given yet."""
    monkeypatch.setattr(store_module, "_told", set())


def files(store: Store) -> list[str]:
    """Return the names of all files but marks and lock."""
    known = {*store_module.MARKS, store_module.LOCK}
    return [p.name for p in store.folder.rglob("*") if p.is_file() and p.name not in known]


def test_a_full_disk_is_said_once_and_the_audit_goes_on(
    blobs: Task, store: Store, trained: list[Run], monkeypatch: pytest.MonkeyPatch, untold: None
) -> None:
    """All runs come back, no half entry or temporary file is left, and later ones are kept."""
    with monkeypatch.context() as patch:
        patch.setattr(store_module, "encode", lambda run: encode(run) * 1000)
        with limited_files(100_000), pytest.warns(NotStoredWarning) as caught:
            family, _ = [train_two(blobs, Store(store.folder)) for _ in range(2)]
    (warning,) = caught
    for part in (str(store.folder), "File too large", "--fragility-cache-dir"):
        assert part in str(warning.message)
    assert len(family) == 2
    assert len(trained) == 4
    assert files(store) == []
    assert_same_runs(family, train_two(blobs, Store(store.folder)))
    assert len(entries(store)) == 2


@contextmanager
def limited_files(most: int) -> Iterator[None]:
    """Have the kernel refuse to write files that are longer, as it refuses where a disk is full."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_disk_that_is_full_from_the_start(
    blobs: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, untold: None
) -> None:
    """Where not even a folder can be made, the audit goes on too."""

    def refuse(self: Path, *args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.warns(NotStoredWarning, match="No space left on device") as caught:
        family = train_two(blobs, Store(tmp_path / "kept"))
    assert len(family) == 2
    assert len(caught) == 1


def test_an_interrupted_save_leaves_nothing(
    blobs: Task, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interruption passes through, and leaves no temporary file."""

    def interrupt(path: Path, data: bytes) -> None:
        with path.open("wb") as file:
            file.write(b"half an entry")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train_two(blobs, store)
    assert files(store) == []


def test_what_a_killed_process_left_is_removed(blobs: Task, store: Store) -> None:
    """Once it is so old that nobody can be writing it any more."""
    unfinished = store.folder / "unfinished"
    for name, age in (("old", 4000), ("new", 10)):
        (unfinished / name).write_bytes(b"half an entry")
        os.utime(unfinished / name, (time.time() - age,) * 2)
    train_two(blobs, store)
    assert [path.name for path in unfinished.iterdir()] == ["new"]


@contextmanager
def without_privileges() -> Iterator[None]:
    """Have permissions hold for the administrator too."""
    is_administrator = os.geteuid() == 0
    if is_administrator:
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_administrator:
            os.seteuid(0)


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of folders")
def test_a_store_that_may_only_be_read_serves_what_it_has(
    blobs: Task, trained: list[Run], untold: None
) -> None:
    """What is missing is trained and not kept, which is said once."""
    with tempfile.TemporaryDirectory() as place:
        store = Store(Path(place) / "kept")
        first = train_two(blobs, store)
        folders = [Path(place), *Path(place).rglob("*")]
        for path in folders:
            path.chmod(0o555 if path.is_dir() else 0o444)
        larger = FamilyPlan(blobs, {"baseline": QUICK}, (16,), (0, 1, 2))

        def train() -> Family:
            return train_families([larger], device=CPU, store=Store(store.folder))[0]

        with without_privileges(), pytest.warns(NotStoredWarning, match="Permission") as caught:
            families = [train() for _ in range(2)]
        assert_same_runs(first, families[1])
        assert len(caught) == 1
        assert [run.seed for run in trained] == [0, 1, 2, 2]
        for path in folders:
            path.chmod(0o755)


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOLCK, "No locks available"), NotImplementedError("no flock")]
)
def test_a_file_system_without_locks_is_told(
    blobs: Task, store: Store, monkeypatch: pytest.MonkeyPatch, untold: None, error: Exception
) -> None:
    """Runs are trained and stored all the same."""

    def refuse(self: object) -> None:
        raise error

    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    with pytest.warns(UnlockedStoreWarning, match="has no locks") as caught:
        train_two(blobs, store)
    assert len(caught) == 1
    assert len(entries(store)) == 2


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    """The error names the folder and the option to choose another."""
    (tmp_path / "file").write_text("in the way")
    folder = tmp_path / "file" / "kept"
    with pytest.raises(StoreError, match="choose another folder with --fragility-cache-dir") as no:
        Store(folder)
    assert str(folder) in str(no.value)


def test_the_folder_says_that_it_is_a_cache(store: Store) -> None:
    """Backups skip it by its tag, git by its own ignore file; both are left as they are."""
    tag = (store.folder / "CACHEDIR.TAG").read_text()
    assert tag.startswith("Signature: 8a477f597d28d172789f06886806bc55\n")
    ignore = store.folder / ".gitignore"
    assert ignore.read_text() == "*\n"
    ignore.write_text("# mine\n")
    Store(store.folder)
    assert ignore.read_text() == "# mine\n"


def test_an_entry_says_what_it_is(blobs: Task, store: Store) -> None:
    """Its metadata name the task and hold identity and record as JSON."""
    family = train_two(blobs, store)
    found = []
    for path in entries(store):
        with safe_open(path, framework="pt") as entry:
            metadata = entry.metadata()
        run = json.loads(metadata["run"])
        assert run["task"] == "blobs"
        assert run["recipe"] == QUICK.to_dict()
        trained = family.trained_run("baseline", run["n"], run["seed"])
        assert json.loads(metadata["record"]) == trained.record.to_dict()
        found.append(run["seed"])
    assert sorted(found) == [0, 1]


def test_two_processes_train_each_run_once(tmp_path: Path) -> None:
    """The second waits for the first, and reads what that has trained."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([killed_training.__name__])
    replies, both = context.SimpleQueue(), context.Barrier(2)
    asked = tmp_path / "kept", 1, replies, both
    processes = [context.Process(target=train_and_tell, args=asked) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(100)
        assert process.exitcode == 0
    (one, first), (other, second) = replies.get(), replies.get()
    assert sorted((one, other)) == [0, len(SIZES)]
    assert first == second
    assert len(list((tmp_path / "kept").rglob("*.safetensors"))) == len(SIZES)
