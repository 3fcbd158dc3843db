"""Networks that were trained elsewhere: as good as those trained here, as far as they are known."""

from __future__ import annotations

import csv
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from pytest_fragility import MeasureError, SettingsError, TableError, TrainedNetwork, audit
from pytest_fragility.families.family import Family
from pytest_fragility.measures import (
    frobenius_distance_from_initialization,
    oracle_test_error,
    path_norm,
)
from pytest_fragility.recipes import Factory
from pytest_fragility.tasks import Task
from tests.families.test_tables import LENIENT, by_check
from tests.in_turn import in_turn


def moved(network: TrainedNetwork) -> float:
    """Return a number that reads all that a network has, and random numbers."""
    pairs = zip(network.model.parameters(), network.initial_model.parameters(), strict=True)
    distance = sum(float((one - other).detach().square().sum()) for one, other in pairs)
    drawn = torch.rand(1, generator=network.rng, device=network.rng.device)
    data = network.inputs.abs().mean() + network.labels.float().mean()
    lr = network.recipe.optimizer.lr + network.train_loss + network.train_error + network.steps
    return distance * (1 + 0.1 * float(drawn)) * float(data) * lr


@pytest.mark.parametrize("measure", [moved, path_norm], ids=lambda each: each.__name__)
def test_a_family_that_is_read_back_gives_the_same_verdicts(
    laddered_family: Family, read_back: Callable[..., Family], measure: Any
) -> None:
    """All numbers of all checks: trend, exponent, spread, complexity, symmetry and the others."""
    here = by_check(audit(measure, family=laddered_family, **LENIENT))
    there = by_check(audit(measure, family=read_back(), **LENIENT))
    assert there == here
    assert {"exponent-adam", "complexity-level", "symmetry-permutation", "controls"} <= set(here)


def test_checkpoints_that_are_written_anew_are_read_anew(
    exported: Path, tmp_path: Path, blobs: Task, hard_blobs: Task
) -> None:
    """Though the manifest that lists them stays as it is."""
    folder = tmp_path / "networks"
    shutil.copytree(exported, folder)

    def level() -> float:
        tasks = [blobs, hard_blobs]
        found = audit(path_norm, manifest=folder / "manifest.csv", task=blobs, ladder=tasks)
        return float(found.curves.measure["baseline"].values.mean())

    before = level()
    assert level() == before
    for path in folder.rglob("*.safetensors"):
        tensors = load_file(path)
        save_file({name: 2 * each for name, each in tensors.items()}, path)
    assert level() != before


def test_two_tasks_of_one_name_are_refused(exported: Path, blobs: Task, hard_blobs: Task) -> None:
    """None of them is left out without a word."""
    other = Task(blobs.name, lambda: hard_blobs.data)
    with pytest.raises(SettingsError, match="two tasks are called 'blobs'"):
        audit(path_norm, manifest=exported / "manifest.csv", task=blobs, ladder=[other, hard_blobs])


def test_what_was_read_back_can_be_written_again(
    read_back: Callable[..., Family], exported: Path, tmp_path: Path
) -> None:
    """Byte for byte."""
    read_back().export(tmp_path / "again")
    for path in sorted(exported.rglob("*")):
        if path.is_file():
            assert (tmp_path / "again" / path.relative_to(exported)).read_bytes() == (
                path.read_bytes()
            )


def test_its_parts_are_those_of_any_family(
    read_back: Callable[..., Family], laddered_family: Family, blobs: Task
) -> None:
    """Networks by place, recipes, seeds, and what it says of itself."""
    family = read_back()
    assert (family.sizes, family.seeds, list(family.recipes)) == (
        (16, 32, 64),
        (0, 1, 2),
        ["baseline", "adam"],
    )
    assert family.recipes == laddered_family.recipes
    mine, theirs = (each["blobs", "adam", 32, 1] for each in (laddered_family, family))
    assert torch.equal(mine.inputs, theirs.inputs) and torch.equal(mine.labels, theirs.labels)
    assert len(list(family)) == 18 and family.task is blobs
    assert family.source == "networks from manifest.csv"
    fewer = audit(path_norm, family=family, seeds=[0, 2], sizes=[16, 64], checks="trend")
    assert fewer.records[0]["seeds"] == [0, 2] and fewer.records[0]["sizes"] == [16, 64]
    assert len(family.without_seeds([1]).with_recipes(["baseline"])) == 6
    with pytest.raises(SettingsError, match=r"stopping cannot be made of networks from"):
        audit(path_norm, family=family, checks="stopping")
    with pytest.raises(Exception, match=r"the test set is not known"):
        audit(oracle_test_error, family=family, checks="trend")


class Net(torch.nn.Module):
    """A network of somebody's own, with a buffer and a parameter that two layers share."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Linear(4, 6)
        self.norm = torch.nn.BatchNorm1d(6)
        self.second = torch.nn.Linear(6, 6)
        self.third = torch.nn.Linear(6, 6)
        self.third.weight = self.second.weight

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        hidden = torch.relu(self.norm(self.first(inputs)))
        return self.third(torch.relu(self.second(hidden)))  # type: ignore[no-any-return]


def weight_norm(network: TrainedNetwork) -> float:
    """Return the sum of the squared weights."""
    return float(sum(p.detach().square().sum() for p in network.model.parameters()))


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A manifest with no more than it must have; files as `torch.save` and wrappers leave them."""
    rows = []
    for recipe in ("baseline", "adam"):
        for n in (100, 1000):
            for seed in (0, 1, 2):
                torch.manual_seed(seed)
                network = Net()
                with torch.no_grad():
                    for parameter in network.parameters():
                        parameter.mul_(n ** (-0.2 if recipe == "adam" else 0.2))
                state = network.state_dict()
                name = f"{recipe}-{n}-{seed}.pt"
                if seed == 1:
                    state = {f"module.{key}": value for key, value in state.items()}
                if seed == 2:
                    name = name.replace(".pt", ".safetensors")
                    save_file({key: value.clone() for key, value in state.items()}, tmp_path / name)
                else:
                    torch.save(
                        {"epoch": 3, "state_dict": state} if seed else state, tmp_path / name
                    )
                error = 0.5 * n**-0.3 * (1 + 0.01 * seed)
                rows.append([name, recipe, n, seed, f"{error:.4f}"])
    path = tmp_path / "runs.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["checkpoint", "recipe", "n", "seed", "test_error"])
        writer.writerows(rows)
    return path


def test_paths_names_and_errors_are_enough(foreign: Path) -> None:
    """With a function that makes the networks; what is not known is an error when it is asked."""
    family = Family.from_checkpoints(foreign, architecture=Net)
    result = audit(weight_norm, family=family, **LENIENT)
    assert result["trend-adam"].status == "broken"
    assert result.curves.task_name == "runs"
    assert result.curves.recipes == {"baseline": "baseline", "adam": "adam"}
    assert "test_size" in result.records[0]["notes"][0]
    assert "symmetry-permutation" not in {each.check.id for each in result.verdicts}
    with pytest.raises(SettingsError, match=r"symmetry cannot be made.*own samples, which are not"):
        audit(weight_norm, family=family, checks="symmetry")
    same = audit(weight_norm, manifest=foreign, architecture=Net, checks="trend", **LENIENT)
    assert same["trend-adam"].evidence == result["trend-adam"].evidence


def test_a_family_without_intervals_is_a_family_all_the_same(foreign: Path) -> None:
    """With one seed of each network no check is decided, and nothing is trained."""
    lines = foreign.read_text(encoding="utf-8").splitlines()
    alone = foreign.with_name("alone.csv")
    alone.write_text("\n".join([lines[0], *lines[1::3]]), encoding="utf-8")
    family = Family.from_checkpoints(alone, architecture=Net)
    assert len(family) == 0
    for option in ({"family": family}, {"manifest": alone, "architecture": Net}):
        result = audit(weight_norm, **option, **LENIENT)
        assert {verdict.status for verdict in result.verdicts} == {"inconclusive"}
        assert "seed 0 alone has a value at each of n" in result["trend-baseline"].reason


@in_turn(
    ("part", "advice"),
    [
        ("inputs", r"the data of task 'runs' are not known.*tasks=\{'runs': Task\(...\)\}"),
        ("labels", "the data of task 'runs' are not known"),
        ("initial_model", "add a column initial_checkpoint to the manifest"),
        ("recipe", "add a column optimizer, lr, batch_size, ... to the manifest"),
        ("train_loss", "add a column train_loss to the manifest"),
        ("steps", "add a column steps to the manifest"),
    ],
)
def test_a_part_that_is_not_known_is_told_where_it_is_asked_for(
    foreign: Path, part: str, advice: str
) -> None:
    """With what to add."""

    def asking(network: TrainedNetwork) -> float:
        getattr(network, part)
        return 1.0

    family = Family.from_checkpoints(foreign, architecture=Net)
    with pytest.raises(MeasureError, match=rf"task runs, recipe baseline, n=100.*{advice}"):
        audit(asking, family=family, checks="trend")


def test_a_measure_over_stacks_is_told_too(foreign: Path, read_rows: Any) -> None:
    """Of the data, by whose shape it finds its way; and of the initial weights."""
    family = Family.from_checkpoints(foreign, architecture=Net)
    with pytest.raises(MeasureError, match=r"path_norm.*the data of task 'runs' are not known"):
        audit(path_norm, family=family, checks="trend")
    rows, tasks = read_rows
    for row in rows:
        del row["initial_checkpoint"]
    family = Family.from_checkpoints(rows, tasks=tasks)
    with pytest.raises(MeasureError, match=r"initial weights are not known; add a column"):
        audit(frobenius_distance_from_initialization, family=family, checks="trend")
    assert audit(path_norm, family=family, checks="trend")["trend-baseline"]


def test_symmetries_need_no_initial_weights(exported: Path, read_rows: Any) -> None:
    """But samples, on which they are verified; a measure that asks for them is not defined."""
    rows, tasks = read_rows
    for row in rows:
        del row["initial_checkpoint"]
    family = Family.from_checkpoints(rows, tasks=tasks)
    expected = audit(
        path_norm,
        family=Family.from_checkpoints(exported / "manifest.csv", tasks=tasks),
        checks="symmetry",
    )
    assert by_check(audit(path_norm, family=family, checks="symmetry")) == by_check(expected)
    asked = audit(frobenius_distance_from_initialization, family=family, checks="symmetry")
    assert "initial weights are not known" in asked["symmetry-permutation"].reason


class Touch:
    """Pickled, it makes a file where it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_checkpoints_that_cannot_be_used_are_told_together(foreign: Path, tmp_path: Path) -> None:
    """And no code of theirs is run."""
    torch.save({"first": Touch(tmp_path / "ran")}, tmp_path / "baseline-100-0.pt")
    (tmp_path / "baseline-100-1.pt").write_bytes(b"PK\x03\x04 no archive")
    (tmp_path / "baseline-100-2.safetensors").write_bytes(b"\0" * 40)
    torch.save(torch.nn.Linear(3, 3).state_dict(), tmp_path / "baseline-1000-0.pt")
    torch.save([1, 2], tmp_path / "baseline-1000-1.pt")
    state = load_file(tmp_path / "adam-100-2.safetensors")
    state["first.weight"] = torch.zeros(6, 5)
    save_file(state, tmp_path / "adam-100-2.safetensors")
    family = Family.from_checkpoints(foreign, architecture=Net)
    with pytest.raises(TableError) as caught:
        audit(weight_norm, family=family)
    text = str(caught.value)
    assert "runs.csv: 6 things are wrong" in text
    assert "line 2: baseline-100-0.pt is refused: it holds more than tensors" in text
    assert "line 3: baseline-100-1.pt is damaged" in text
    assert "line 4: baseline-100-2.safetensors is damaged, or no safetensors" in text
    assert "line 5: it is of another architecture" in text
    assert "line 6: baseline-1000-1.pt holds list; expected a state dict" in text
    assert "first.weight has shape (6, 5), expected (6, 4)" in text
    assert not (tmp_path / "ran").exists()


def test_an_export_is_whole_or_absent(
    small_family: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It replaces an export where it is asked to, and nothing else ever."""
    folder = tmp_path / "networks"

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("pytest_fragility.families.export._save_samples", full)
        with pytest.raises(TableError, match=r"cannot be written: No space left on device"):
            small_family.export(folder)
        assert list(tmp_path.iterdir()) == []
        small_family_before = tmp_path / "kept"
        patch.undo()
        small_family.export(small_family_before)
        patch.setattr("pytest_fragility.families.export._save_samples", full)
        with pytest.raises(TableError, match=r"cannot be written"):
            small_family.export(small_family_before, overwrite=True)
        assert (small_family_before / "manifest.csv").is_file()
        assert [each.name for each in tmp_path.iterdir()] == ["kept"]
    with pytest.raises(TableError, match=r"is there already; say overwrite=True"):
        small_family.export(small_family_before)
    small_family.export(small_family_before, overwrite=True)
    folder.mkdir()
    with pytest.raises(TableError, match=r"holds no manifest.csv"):
        small_family.export(folder, overwrite=True)


OWN = "tests.families.test_manifests:eight_hidden"


def test_architectures_have_names_or_parameters(read_rows: Any, tmp_path: Path) -> None:
    """In each row; a name alone has its defaults, which these networks are not of."""
    rows, tasks = read_rows
    for row in rows:
        row["architecture"] = "eight"
        row["initialization"] = ""
    family = Family.from_checkpoints(rows, tasks=tasks, architectures={"eight": eight_hidden})
    assert str(family.recipes["baseline"].architecture) == "eight_hidden"
    found = audit(path_norm, family=family, checks="trend", **LENIENT)
    family.export(tmp_path / "again")
    manifest = tmp_path / "again" / "manifest.csv"
    assert OWN in manifest.read_text(encoding="utf-8")
    again = Family.from_checkpoints(manifest, tasks=tasks, architectures={OWN: eight_hidden})
    assert by_check(audit(path_norm, family=again, checks="trend", **LENIENT)) == by_check(found)
    for row in rows:
        row["architecture"] = "mlp"
    with pytest.raises(TableError, match=r"row 0 and 17 more: it is of another architecture"):
        audit(path_norm, family=Family.from_checkpoints(rows, tasks=tasks), checks="trend")


def test_what_a_manifest_names_is_never_imported(
    foreign: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a module beside it nor one that is installed, unless somebody has given it."""
    (foreign.parent / "beside.py").write_text(
        "open('ran', 'w').close()\nfrom tests.families.test_manifests import Net\n"
    )
    monkeypatch.chdir(foreign.parent)
    monkeypatch.syspath_prepend(foreign.parent)
    for cell in ("beside:Net", "os:abort", "os:system", "os.path:join", "nowhere:net", "net"):
        lines = foreign.read_text(encoding="utf-8").splitlines()
        columns = ["architecture", *[cell] * (len(lines) - 1)]
        named = foreign.with_name("named.csv")
        named.write_text("\n".join(map(",".join, zip(lines, columns, strict=True))), "utf-8")
        place = re.escape(cell if ":" in cell else f"{cell}=MODULE:FUNCTION")
        allowed = rf"architectures={{'{cell}': ...}} in Python, or --fragility-architecture={place}"
        for options in ({}, {"architectures": {"other": Net}}, {"architecture": Net}):
            with pytest.raises(TableError, match=rf"architecture='{cell}'.*{allowed}"):
                Family.from_checkpoints(named, **options)
            with pytest.raises(TableError, match=rf"architecture='{cell}'.*{allowed}"):
                audit(weight_norm, manifest=named, **options)
        assert not (foreign.parent / "ran").exists() and "beside" not in sys.modules
        for given in (Net, "beside:Net"):
            result = audit(
                weight_norm, manifest=named, architectures={cell: given}, checks="trend", **LENIENT
            )
            assert result["trend-adam"].status == "broken"
        sys.modules.pop("beside")
        (foreign.parent / "ran").unlink()
    assert Family.from_checkpoints(foreign, architecture="beside:Net")


def test_a_place_that_is_given_is_what_rows_may_call_it(foreign: Path) -> None:
    """One word names it for all rows, whether they say it or not."""
    lines = foreign.read_text(encoding="utf-8").splitlines()
    place = "tests.families.test_manifests:Net"
    cells = ["architecture", *[place, ""] * (len(lines) // 2)]
    named = foreign.with_name("named.csv")
    named.write_text("\n".join(map(",".join, zip(lines, cells, strict=True))), encoding="utf-8")
    assert list(Family.from_checkpoints(named, architecture=place))


def test_two_architectures_of_one_name_are_two(foreign: Path) -> None:
    """What an object is called says nothing of what it is."""

    def wide() -> torch.nn.Module:
        return torch.nn.Linear(3, 3)

    with foreign.open(encoding="utf-8", newline="") as file:
        rows: list[dict[str, Any]] = list(csv.DictReader(file))
    for place, row in enumerate(rows):
        row["checkpoint"] = str(foreign.parent / row["checkpoint"])
        row["architecture"] = Factory(wide if place < 6 else Net, name="net")
    family = Family.from_checkpoints(rows)
    assert family.recipes["baseline"].architecture != family.recipes["adam"].architecture


@in_turn(
    ("options", "message"),
    [
        ({"architectures": ["net"]}, r"architectures=\['net'\]: expected a dict"),
        ({"architectures": {3: Net}}, r"architectures=\{3: .*: expected a dict"),
        ({"architectures": {"net": 3}}, r"architectures, 'net': .*architecture=3"),
        ({"architectures": {"net": "nowhere:net"}}, r"architectures, 'net': .*no module named"),
    ],
)
def test_architectures_that_cannot_be_used(
    foreign: Path, options: dict[str, Any], message: str
) -> None:
    """Are told by their names."""
    with pytest.raises(SettingsError, match=message):
        Family.from_checkpoints(foreign, **options)
    with pytest.raises(SettingsError, match=message):
        audit(weight_norm, manifest=foreign, **options)


def test_names_of_a_manifest_without_one() -> None:
    """Nothing that is asked for is left out in silence."""
    with pytest.raises(SettingsError, match=r"names in a manifest stand for, and there is none"):
        audit(weight_norm, architectures={"net": Net})
    with pytest.raises(SettingsError, match=r"architectures=.* and table= names what exists"):
        audit("m", table=[], architectures={"net": Net})


def eight_hidden() -> torch.nn.Module:
    """Return a network of the names and shapes that the package's own has."""
    from pytest_fragility.networks import build_network
    from pytest_fragility.recipes import MLP

    return build_network(MLP(hidden=(8,)), (6,), 3)


def test_a_task_is_not_taken_by_its_name_alone(
    read_back: Callable[..., Family], blobs: Task, hard_blobs: Task
) -> None:
    """A family has read its tasks: other data of the same name would be left out."""
    family = read_back()
    asked: dict[str, Any] = {"family": family, "checks": "trend", "error_margin": 9}
    same = Task(blobs.name, lambda: blobs.data)
    assert audit(lambda network: 1 / network.n, name="m", task=same, **asked).verdicts
    others: list[dict[str, Any]] = [
        {"task": Task(blobs.name, lambda: hard_blobs.data)},
        {"ladder": [blobs, Task(hard_blobs.name, lambda: blobs.data)]},
    ]
    for other in others:
        with pytest.raises(SettingsError, match="family= has one of this name, with other data"):
            audit(lambda network: 1 / network.n, name="m", **asked, **other)
