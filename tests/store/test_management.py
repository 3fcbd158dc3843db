"""What a store holds, and removing some of it."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_fragility.families.plan import FamilyPlan
from pytest_fragility.families.train import train_families
from pytest_fragility.recipes import MLP, Recipe, fixed_steps
from pytest_fragility.report.store_listing import inventory_table, size_text
from pytest_fragility.store import Store
from pytest_fragility.store.inventory import Inventory, StoredRun, take_inventory
from pytest_fragility.store.maintenance import chosen_for_removal, prune, verify
from pytest_fragility.tasks import Task
from pytest_fragility.training.trainer import training_environment

CPU = torch.device("cpu")
HERE = [training_environment(CPU)]
DAY = 86400.0
RECIPE = Recipe(architecture=MLP(hidden=(4,)), batch_size=8, stopping=fixed_steps(5))


@pytest.fixture
def store(blobs: Task, tmp_path: Path) -> Store:
    """Three runs that were used today, ten and forty days ago."""
    store = Store(tmp_path / "kept")
    for seed, age in enumerate((0, 10, 40)):
        plan = FamilyPlan(blobs, {"baseline": RECIPE}, (16,), (seed,))
        train_families([plan], device=CPU, store=store)
        (run,) = plan.runs.values()
        set_age(store.path(run.key(HERE[0])), age)
    return store


def set_age(path: Path, days: float) -> None:
    """Have a file be that old."""
    os.utime(path, (time.time() - days * DAY,) * 2)


def ages(runs: Sequence[StoredRun]) -> list[int]:
    """Return how many days ago runs were used, sorted."""
    return sorted(round((time.time() - run.used) / DAY) for run in runs)


def test_an_inventory_knows_each_run(store: Store) -> None:
    """Its task, size and age, and that this version reads it."""
    inventory = take_inventory(store.folder, HERE)
    assert ages(inventory.runs) == [0, 10, 40]
    assert {run.task for run in inventory.runs} == {"blobs"}
    assert all(run.is_current for run in inventory.runs)
    assert inventory.size == sum(
        path.stat().st_size for path in store.folder.rglob("*.safetensors")
    )
    assert not any(run.is_current for run in take_inventory(store.folder, ()).runs)


def test_an_inventory_knows_leftovers(store: Store) -> None:
    """What was set aside, what was left half written, and entries of other formats."""
    first = take_inventory(store.folder, HERE).runs[0].path
    store.set_aside(first)
    left = store.folder / "unfinished" / "left"
    left.write_bytes(b"half")
    set_age(left, 1)
    (store.folder / "unfinished" / "being written").write_bytes(b"half")
    old = store.folder / "runs" / "ab" / "cd.safetensors"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"another format")
    inventory = take_inventory(store.folder, HERE)
    assert [run.path.parent.name for run in inventory.damaged] == ["damaged"]
    assert [run.path.name for run in inventory.unfinished] == ["left"]
    assert [run.path for run in inventory.runs if run.task is None] == [old]
    table = inventory_table(store.folder, inventory)
    assert "(unreadable)" in table
    assert "set aside as damaged: 1 run," in table
    assert "by processes that were killed: 1 run, 4 bytes" in table
    assert "written by other versions of torch or of this package: 1 run, 14 bytes" in table
    removed = prune(store.folder)
    assert {run.path.name for run in removed} == {"left", inventory.damaged[0].path.name}
    assert old.exists()


def test_a_table_has_a_line_per_task() -> None:
    """In 80 columns, whatever a file says its task is called."""
    now = time.time()
    names = ["plain", "x" * 200, "\x1b[31mred\nline", "\u202eright to left"]
    runs = [StoredRun(Path("x"), 1500, now - 2 * DAY, name, True) for name in (*names, "plain")]
    table = inventory_table(Path("store"), Inventory(tuple(runs), (), ()))
    assert all(line.isprintable() and len(line) <= 80 for line in table.splitlines())
    assert "5 runs, 7.5 kB" in table
    rows = [line.split() for line in table.splitlines()]
    assert ["plain", "2", "3.0", "kB", "2", "days", "ago"] in rows
    assert len(table.splitlines()) == 3 + len(names)


def test_sizes_have_three_digits() -> None:
    """In powers of 1000."""
    for size, text in [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (99_949, "99.9 kB"),
        (99_950, "100 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (2.5e9, "2.5 GB"),
        (3e15, "3000 TB"),
    ]:
        assert size_text(int(size)) == text


def test_pruning_by_age(store: Store) -> None:
    """What was not used for so long goes."""
    assert ages(prune(store.folder, max_age=30 * DAY)) == [40]
    assert ages(take_inventory(store.folder, HERE).runs) == [0, 10]
    assert ages(prune(store.folder, max_age=9 * DAY)) == [10]


def test_pruning_by_size(store: Store) -> None:
    """What was used last stays, as far as there is room."""
    size = take_inventory(store.folder, HERE).size
    assert prune(store.folder, max_size=size) == []
    assert ages(prune(store.folder, max_size=size - 1)) == [40]
    assert ages(prune(store.folder, max_size=0)) == [0, 10]
    assert take_inventory(store.folder, HERE).runs == ()


runs = st.builds(
    StoredRun,
    path=st.just(Path("x")),
    size=st.integers(1, 100),
    used=st.floats(0, 1000),
    task=st.just("blobs"),
    is_current=st.booleans(),
)


@settings(deadline=None)
@given(st.lists(runs, max_size=30), st.floats(0, 1000), st.integers(0, 2000))
def test_what_stays_is_the_latest_that_fits(
    stored: list[StoredRun], oldest: float, most: int
) -> None:
    """Nothing that is too old, no more than there is room for, and nothing older than what goes."""
    removed = list(chosen_for_removal(stored, oldest=oldest, most=most))
    kept = [run for run in stored if all(run is not each for each in removed)]
    assert len(kept) + len(removed) == len(stored)
    assert sum(run.size for run in kept) <= most
    assert all(run.used >= oldest for run in kept)
    newest_gone = max((run.used for run in removed), default=-1.0)
    assert all(run.used >= newest_gone for run in kept)
    fitting = [run for run in stored if run.used >= oldest]
    if sum(run.size for run in fitting) <= most:
        assert len(kept) == len(fitting)


def test_use_makes_an_entry_young(store: Store, blobs: Task) -> None:
    """A family that reads a run has it be used today."""
    train_families([FamilyPlan(blobs, {"baseline": RECIPE}, (16,), (2,))], device=CPU, store=store)
    assert ages(take_inventory(store.folder, HERE).runs) == [0, 0, 10]


def test_verifying_reads_every_byte(store: Store) -> None:
    """One flipped bit is found, and its entry set aside."""
    assert [reason for _, reason in verify(store)] == [None] * 3
    path = take_inventory(store.folder, HERE).runs[1].path
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    reason = dict(verify(store))[path]
    assert reason and reason.startswith("its checksum is not that of its contents; set aside as ")
    assert not path.exists()
    assert [reason for _, reason in verify(store)] == [None] * 2
