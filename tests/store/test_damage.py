"""What stands in the way of a store's files: it heals, or is refused, and nothing good is lost."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pytest_fragility import Factory, Recipe, fixed_steps
from pytest_fragility.errors import SettingsError, StoreError, TaskError
from pytest_fragility.families.family import Family
from pytest_fragility.families.plan import FamilyPlan
from pytest_fragility.families.train import train_families
from pytest_fragility.perturbations import BASELINE
from pytest_fragility.store import DamagedEntryWarning, Store
from pytest_fragility.store.inventory import take_inventory
from pytest_fragility.store.maintenance import prune, verify
from pytest_fragility.tasks import Task

needs_links = pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege")
MISSING: list[BaseException] = []


def build(input_shape: Any, classes: int) -> nn.Module:
    """Return a network, unless something is missing on this machine."""
    if MISSING:
        raise MISSING[0]
    return nn.Sequential(nn.Flatten(), nn.Linear(input_shape[0], classes))


RECIPE = Recipe(
    architecture=Factory(build, name="flattened", version="1"),
    batch_size=8,
    stopping=fixed_steps(10),
)


@pytest.fixture(autouse=True)
def _nothing_is_missing() -> Any:
    MISSING.clear()
    yield
    MISSING.clear()


def train_in(store: Store, task: Task) -> Family:
    """Return a family of four networks."""
    plan = FamilyPlan(task, {BASELINE: RECIPE}, (16, 32), (0, 1))
    return train_families([plan], device=torch.device("cpu"), store=store)[0]


def entries(store: Store) -> list[Path]:
    """Return the files of entries."""
    return sorted(store.folder.rglob("runs-*/*/*.safetensors"))


def forget_templates() -> None:
    """Forget what networks look like, as a new process does."""
    from pytest_fragility.store import entry_validation as validation

    validation._forms_of.cache_clear()


@pytest.mark.parametrize(
    "error",
    [
        ImportError("no module named 'timm'"),
        RuntimeError("No CUDA GPUs are available"),
        MemoryError(),
        SystemExit(1),
        ValueError("not here"),
    ],
)
def test_what_cannot_be_built_is_not_judged(
    blobs: Task, tmp_path: Path, error: BaseException
) -> None:
    """A package that one machine lacks costs no stored run: there it is an error, and no damage."""
    store = Store(tmp_path)
    train_in(store, blobs)
    before = {path: path.read_bytes() for path in entries(store)}
    assert len(before) == 4
    forget_templates()
    MISSING.append(error)
    with pytest.raises(
        SettingsError, match=rf"flattened: the function raised {type(error).__name__}"
    ):
        train_in(store, blobs)
    assert {path: path.read_bytes() for path in entries(store)} == before
    assert not (store.folder / "damaged").exists()
    assert [reason for _, reason in verify(store)] == [None] * 4


def test_an_interruption_sets_nothing_aside(blobs: Task, tmp_path: Path) -> None:
    """Nor does it become an error."""
    store = Store(tmp_path)
    train_in(store, blobs)
    forget_templates()
    MISSING.append(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        train_in(store, blobs)
    assert len(entries(store)) == 4


def a_link_to_a_file(place: Path, elsewhere: Path) -> None:
    """Make a link to a file, which stays."""
    (elsewhere / "file").write_text("of somebody else")
    place.symlink_to(elsewhere / "file")


# what may stand where something else should be
IN_THE_WAY: dict[str, Callable[[Path, Path], object]] = {
    "file": lambda place, elsewhere: place.write_text("no folder"),
    "link to nowhere": lambda place, elsewhere: place.symlink_to(elsewhere / "nowhere"),
    "loop": lambda place, elsewhere: place.symlink_to(place),
    "link to a file": a_link_to_a_file,
}


@needs_links
@pytest.mark.parametrize("spoil", IN_THE_WAY.values(), ids=IN_THE_WAY)
def test_what_stands_in_the_place_of_a_shelf_is_set_aside(
    blobs: Task, tmp_path: Path, spoil: Callable[[Path, Path], None]
) -> None:
    """All other runs are read; those of the shelf are trained again, and kept."""
    store = Store(tmp_path / "kept")
    first = train_in(store, blobs)
    lost = entries(store)[0]
    shelf = lost.parent
    moved = [path.read_bytes() for path in shelf.iterdir()]
    for path in shelf.iterdir():
        path.unlink()
    shelf.rmdir()
    spoil(shelf, tmp_path)
    assert len(take_inventory(store.folder, ()).runs) == 4 - len(moved) + 1
    with pytest.warns(DamagedEntryWarning, match=r"should be a folder, and is none; set aside as"):
        again = train_in(store, blobs)
    assert len(entries(store)) == 4
    for one, other in zip(first, again, strict=True):
        for before, after in zip(one.model.parameters(), other.model.parameters(), strict=True):
            assert torch.equal(before, after)
    if (tmp_path / "file").exists():
        assert (tmp_path / "file").read_text() == "of somebody else"
    prune(store.folder)
    assert not list((store.folder / "damaged").iterdir())


@needs_links
@pytest.mark.parametrize("spoil", [IN_THE_WAY["file"], IN_THE_WAY["loop"]])
def test_verifying_sets_it_aside_too(
    blobs: Task, tmp_path: Path, spoil: Callable[[Path, Path], None]
) -> None:
    """With a reason, and the rest is whole."""
    store = Store(tmp_path / "kept")
    train_in(store, blobs)
    shelf = store.folder / entries(store)[0].parent.parent.name / "zz"
    spoil(shelf, tmp_path)
    found = dict(verify(store))
    assert "set aside" in str(found.pop(shelf))
    assert set(found.values()) == {None}
    assert not os.path.lexists(shelf)


@needs_links
@pytest.mark.parametrize("kind", [*list(IN_THE_WAY)[1:], "folder"])
def test_what_stands_in_the_place_of_an_entry_is_set_aside(
    blobs: Task, tmp_path: Path, kind: str
) -> None:
    """A folder too, with what is in it."""
    store = Store(tmp_path / "kept")
    train_in(store, blobs)
    path = entries(store)[0]
    path.unlink()
    if kind == "folder":
        path.mkdir()
        (path / "file").write_text("something")
    else:
        IN_THE_WAY[kind](path, tmp_path)
    with pytest.warns(DamagedEntryWarning, match="it is no plain file.*set aside"):
        train_in(store, blobs)
    assert all(path.is_file() and not path.is_symlink() for path in entries(store))


@pytest.mark.parametrize("name", ["read_bytes", "lstat"])
def test_what_may_not_be_read_stays(
    blobs: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """It may be somebody else's: it is trained again, and the audit goes on."""
    store = Store(tmp_path)
    train_in(store, blobs)
    original: Any = getattr(Path, name)

    def refuse(path: Path) -> Any:
        if path.suffix == ".safetensors":
            raise PermissionError(13, "Permission denied")
        return original(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, name, refuse)
        with pytest.warns(DamagedEntryWarning, match=r"cannot be read \(Permission denied\)"):
            train_in(store, blobs)
        assert all("cannot be read" in str(reason) for _, reason in verify(store))
    assert len(entries(store)) == 4
    assert not (store.folder / "damaged").exists()


def test_a_cache_folder_that_is_a_file(tmp_path: Path) -> None:
    """Or lies below one: the error names it, and says what to do."""
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(
            StoreError, match=r"cannot keep trained runs in .*choose another folder"
        ):
            Store(folder)


@pytest.mark.parametrize("error", [SystemExit(1), GeneratorExit(), MemoryError()])
def test_a_loader_that_quits_is_named(error: BaseException) -> None:
    """As one is that raises."""

    def load() -> Any:
        raise error

    with pytest.raises(TaskError, match=rf"task 'mine': load\(\) raised {type(error).__name__}"):
        _ = Task("mine", load).data


def test_a_network_that_quits_in_training_is_named(blobs: Task) -> None:
    """In a thread of its own it would end without a word."""

    class Quits(nn.Linear):
        calls = 0

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            sys.exit("no licence")

    recipe = RECIPE.replace(architecture=Factory(lambda: Quits(6, 3), name="quits", version="1"))
    plan = FamilyPlan(blobs, {BASELINE: recipe}, (16, 32), (0, 1))
    with pytest.raises(Exception, match="SystemExit: no licence") as found:
        train_families([plan], device=torch.device("cpu"))
    assert type(found.value).__name__ == "TrainingError"
