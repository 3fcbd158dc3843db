"""What is wrong with a table or a manifest is said in words, all of it together."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pytest_fragility import FragilityError, MeasureError, TableError, audit
from pytest_fragility.families.family import Family
from tests.families.conftest import Row, table_rows
from tests.in_turn import in_turn

LONG = "x" * 5000


def changed(change: Callable[[Row], Any]) -> list[Row]:
    """Return rows of which the third is changed."""
    rows = table_rows()
    change(rows[2])
    return rows


TABLES: list[tuple[str, Any, str]] = [
    ("nothing", "", "table='': expected the path of a CSV or JSON file"),
    ("a number", 3, "table=3: expected the path"),
    ("no file", "nowhere.csv", "nowhere.csv: there is no such file"),
    ("no rows", [], "the list: it has no rows"),
    ("rows of numbers", [1, 2], "row 0: 1: expected values by column name"),
    (
        "a column misspelt",
        [{"test_eror": 0.1, "recipe": "baseline", "n": 1, "seed": 0, "m": 1.0}],
        "the list: no column 'test_error' (did you mean 'test_eror'?)",
    ),
    ("no measure", [{"recipe": "baseline", "n": 1, "seed": 0, "test_error": 0.1}], "no column hol"),
    ("a name for an error", changed(lambda r: r.update(test_error="low")), "test_error='low': exp"),
    (
        "a percentage",
        changed(lambda r: r.update(test_error=12.5)),
        "row 2: test_error=12.5: expected a share of the samples, from 0 to 1; divide percentages",
    ),
    ("a size below one", changed(lambda r: r.update(n=0)), "n=0: expected a whole number from 1"),
    ("no size", changed(lambda r: r.update(n=None)), "row 2: n is empty"),
    ("a seed below zero", changed(lambda r: r.update(seed=-1)), "seed=-1: expected a whole number"),
    ("a huge seed", changed(lambda r: r.update(seed=2**70)), "expected a whole number from 0 up"),
    ("a name with spaces", changed(lambda r: r.update(recipe="sgd 0.1")), "recipe='sgd 0.1': expe"),
    ("twice", [*table_rows(), table_rows()[0]], "row 30: task toy, recipe baseline, n=32, seed 0 "),
    ("no hex", changed(lambda r: r.update(mistaken="xyz")), "expected hexadecimal digits"),
    (
        "a short mask",
        changed(lambda r: r.update(mistaken="ff")),
        "mistaken has 1 bytes; test_size",
    ),
    (
        "another mask",
        changed(lambda r: r.update(mistaken="ff" * 50)),
        "mistaken has 400 samples, test_error x test_size is",
    ),
    (
        "two test sets",
        changed(lambda r: r.update(test_size=800, mistaken=None)),
        "row 2: test_size=800, and 400 in row 0; expected one test set",
    ),
    (
        "no error without a size",
        [{**row, "test_size": None, "mistaken": None, "test_error": 0} for row in table_rows()],
        "which has no logarithm; add a column test_size",
    ),
    (
        "a near name of a column",
        [{**row, "parametres": 3} for row in table_rows()],
        "unknown column 'parametres' (did you mean 'parameters'?)",
    ),
    ("one size", table_rows(sizes=(32,)), "task toy has n = 32 alone"),
    ("two problems", changed(lambda r: r.update(n=0, seed="x")), "the list: 2 things are wrong"),
]


@in_turn(("source", "message"), [pytest.param(*row[1:], id=row[0]) for row in TABLES])
def test_tables(source: Any, message: str) -> None:
    """Each names the row, the value and what was expected."""
    with pytest.raises(TableError, match=re.escape(message)):
        audit("steady", table=source)


@in_turn("column", ["n", "seed"])
def test_a_number_that_cannot_be_read_makes_no_row_another(column: str) -> None:
    """What follows from an error is not told as one more."""
    rows = [{**row, column: "x"} for row in table_rows()]
    with pytest.raises(TableError) as raised:
        audit("steady", table=rows)
    assert len(str(raised.value).splitlines()) == 1
    assert "keep one of them" not in str(raised.value)


@pytest.fixture
def odd_files(tmp_path: Path) -> Path:
    """A folder with what is no plain file, or is larger than any table."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    with (tmp_path / "sparse.csv").open("wb") as file:
        file.truncate(2**40)
    return tmp_path


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
@pytest.mark.parametrize("option", ["table", "manifest"])
@in_turn(
    ("name", "message"),
    [
        ("pipe", "it is no plain file"),
        ("/dev/zero", "it is no plain file"),
        ("folder", "Is a directory|it is no plain file"),
        ("loop", "symbolic links"),
        ("sparse.csv", "it has 1,099,511,627,776 bytes"),
        (LONG, "File name too long"),
        ("\ud800", "its name cannot be that of a file"),
    ],
)
def test_files_that_are_none(option: str, name: str, message: str, odd_files: Path) -> None:
    """Nobody waits for a pipe, and no memory is asked for."""
    source: dict[str, Any] = {option: str(odd_files / name)}
    with pytest.raises(TableError, match=rf"{option}=.*cannot be read: .*({message})"):
        audit("m", **source)
    if name != "sparse.csv":
        cells = {"checkpoint": str(odd_files / name)}
        with pytest.raises(TableError, match=r"row 0: checkpoint="):
            Family.from_checkpoints([manifest_row(odd_files, **cells)])


def test_a_network_that_a_manifest_makes_large_is_not_built(tmp_path: Path) -> None:
    """Its weights are counted before any memory is asked for."""
    rows = []
    for n in (10, 20):
        for seed in (0, 1):
            torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / f"{n}-{seed}.pt")
            own = {"n": n, "seed": seed, "checkpoint": str(tmp_path / f"{n}-{seed}.pt")}
            rows.append(manifest_row(tmp_path, task="digits", **own))
    for architecture, message in (
        ({"kind": "mlp", "hidden": [30_000] * 40}, "expected at most 1,000,000,000 of them in a n"),
        ({"kind": "vit", "patch": 1, "heads": 1, "width": 10**9}, "a layer of 2 x 1000000000 weig"),
        ({"kind": "mlp", "hidden": [1_000_000]}, "has 74,000,000 weights, and 10-0.pt"),
    ):
        named = [{**row, "architecture": json.dumps(architecture)} for row in rows]
        with pytest.raises(TableError, match=re.escape(message)):
            list(Family.from_checkpoints(named))


@in_turn("content", ["{", '{"rows":\n3}', "[" * 100_000])
def test_json_that_is_none(content: str, tmp_path: Path) -> None:
    """Or is no list."""
    path = tmp_path / "values.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(
        TableError, match=r"values.json: (it is no JSON|'rows' holds 3; expected a list)"
    ):
        audit("m", table=path)


def test_a_value_without_logarithm_is_told_with_its_row() -> None:
    """On a linear scale it is a value like any other."""
    rows = changed(lambda row: row.update(steady=-1.0))
    with pytest.raises(MeasureError, match=r"row 2 \(recipe baseline, n=32, seed 2\): -1 has"):
        audit("steady", table=rows)
    assert audit("steady", table=rows, scale="linear")["trend-baseline"]


def test_two_sources_contradict_each_other() -> None:
    """As do a function and a table, and a family of something else."""
    with pytest.raises(FragilityError, match=r"manifest= and table= are both given"):
        audit("steady", table=table_rows(), manifest="manifest.csv")
    with pytest.raises(FragilityError, match=r"no measure .*a function is asked about networks"):
        audit(len, table=table_rows())
    with pytest.raises(FragilityError, match=r"family=3: expected what Family.from_checkpoints"):
        audit(len, family=3)  # type: ignore[arg-type]


def manifest_row(folder: Path, **cells: Any) -> Row:
    """Return a row whose checkpoint is there."""
    torch.save(torch.nn.Linear(2, 2).state_dict(), folder / "a.pt")
    row = {"checkpoint": str(folder / "a.pt"), "recipe": "baseline", "n": 10, "seed": 0}
    return {**row, "test_error": 0.1, "architecture": "mlp", **cells}


MANIFESTS: list[tuple[str, Row, str]] = [
    ("a long path", {"checkpoint": LONG}, "cannot be read: File name too long"),
    ("a deep path", {"samples": "a/" * 5000}, "cannot be read: File name too long"),
    ("a null character", {"checkpoint": "a\0b"}, "checkpoint='a\\x00b': expected a path"),
    ("a surrogate", {"checkpoint": "\ud800"}, "its name cannot be that of a file"),
    ("a folder", {"initial_checkpoint": "."}, "is no plain file"),
    ("a device", {"checkpoint": "/dev/zero"}, "/dev/zero is no plain file"),
    ("below a file", {"checkpoint": __file__ + "/x"}, "there is no file"),
    ("a list of kinds", {"architecture": '{"kind": ["mlp"]}'}, "expected one of mlp, cnn"),
    ("a kind of kinds", {"optimizer": {"kind": {"a": 1}}}, "optimizer={'kind': {'a': 1}}: exp"),
    ("too deep", {"architecture": '{"kind": "vit", "depth": 1000000000}'}, "a whole number from 1"),
    ("too many", {"architecture": {"kind": "mlp", "hidden": [1] * 2000}}, "at most 1,000"),
    (
        "a word for a flag",
        {"momentum": 0.9, "nesterov": "False"},
        "SGD.nesterov='False': expected T",
    ),
    ("long digits", {"architecture": '{"hidden": ' + "9" * 5000 + "}"}, "expected one of mlp"),
    ("an array", {"initialization": torch.ones(2)}, "Recipe.initialization=tensor([1., 1.]): exp"),
    ("an unknown column", {"sede": 1}, "unknown column 'sede' (did you mean 'seed'?)"),
    ("a missing file", {"checkpoint": "gone.pt"}, "checkpoint='gone.pt': there is no file"),
    ("no file", {"checkpoint": None}, "row 0: checkpoint is empty"),
    (
        "no initial file",
        {"initial_checkpoint": "gone.pt"},
        "initial_checkpoint='gone.pt': there",
    ),
    ("an architecture", {"architecture": "mpl"}, "architecture='mpl': expected one of mlp"),
    ("no architecture", {"architecture": None}, "the architecture is not known; add a column"),
    ("two kinds", {"architecture": '{"kind": "mlp", "kind": "cnn"}'}, "expected one of mlp, cnn"),
    ("a width", {"architecture": '{"kind": "mlp", "hidden": [-3]}'}, "MLP.hidden="),
    ("a place", {"architecture": "nowhere:net"}, "architecture='nowhere:net': expected one of mlp"),
    ("an optimizer", {"optimizer": "sdg"}, "optimizer='sdg': expected one of sgd"),
    ("a parameter", {"optimizer": "adam", "momentum": 0.9}, "no parameter 'momentum'"),
    ("a rate", {"lr": -1}, "SGD.lr=-1"),
    ("a batch", {"batch_size": "many"}, "Recipe.batch_size='many'"),
    ("no error", {"test_error": None}, "row 0: test_error is empty"),
]


@in_turn(("cells", "message"), [pytest.param(*row[1:], id=row[0]) for row in MANIFESTS])
def test_manifests(cells: Row, message: str, tmp_path: Path) -> None:
    """Each names the row, the value and what was expected."""
    with pytest.raises(TableError, match=re.escape(message)):
        Family.from_checkpoints([manifest_row(tmp_path, **cells)])


def test_one_file_is_one_network_and_one_name_one_recipe(tmp_path: Path) -> None:
    """A line that was copied, and a rate that is another under the same name."""
    row = manifest_row(tmp_path)
    with pytest.raises(TableError, match=r"stands in row 0 too; keep one of them"):
        Family.from_checkpoints([row, row])
    with pytest.raises(TableError, match=r"checkpoint a.pt stands in row 0 too, for another"):
        Family.from_checkpoints([row, {**row, "seed": 1}])
    torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "b.pt")
    other = {**row, "seed": 1, "checkpoint": str(tmp_path / "b.pt"), "lr": 0.5}
    with pytest.raises(TableError, match=r"expected one recipe of each name"):
        Family.from_checkpoints([row, other])


@in_turn(
    ("content", "message"),
    [
        ("1\n2\n", "expected at least n=16"),
        ("a\n", "expected whole numbers, one a line"),
        ("\n".join(["3"] * 16), "stands twice"),
        ("\n".join(["-1", *map(str, range(15))]), "a row is negative"),
        ("\n".join(["1_0", *map(str, range(15))]), "expected whole numbers.*'1_0' is none"),
        ("\n".join(["9" * 5000, *map(str, range(15))]), "expected whole numbers, one a line"),
    ],
)
def test_samples(
    content: str, message: str, exported: Path, tmp_path: Path, read_rows: Any, blobs: Any
) -> None:
    """Fewer than n, or no rows."""
    path = tmp_path / "samples.txt"
    path.write_text(content, encoding="utf-8")
    rows, tasks = read_rows
    rows[0]["samples"] = str(path)
    with pytest.raises(TableError, match=message):
        list(Family.from_checkpoints(rows, tasks=tasks))


def test_samples_of_a_file_that_is_too_large(read_rows: Any, tmp_path: Path) -> None:
    """Are not read."""
    rows, tasks = read_rows
    rows[0]["samples"] = str(tmp_path / "samples")
    with (tmp_path / "samples").open("wb") as file:
        file.truncate(1 << 31)
    with pytest.raises(TableError, match=r"it has 2,147,483,648 bytes, which is too much"):
        list(Family.from_checkpoints(rows, tasks=tasks))


def test_samples_beyond_the_pool(read_rows: Any, tmp_path: Path) -> None:
    """Are told when data are looked at; NumPy's files are read too."""
    rows, tasks = read_rows
    np.save(tmp_path / "samples.npy", np.arange(1000, 1016))
    rows[0]["samples"] = str(tmp_path / "samples.npy")
    family = Family.from_checkpoints(rows, tasks=tasks)
    with pytest.raises(TableError, match=r"row 1015 of the training pool is among its samples"):
        next(iter(family))


def array_file(descr: str, shape: str) -> bytes:
    """Return 200 bytes of zeros behind a header of NumPy's that says what it likes."""
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode() + b"\n"
    return b"\x93NUMPY\x01\0" + len(header).to_bytes(2, "little") + header + bytes(200)


@in_turn(
    ("content", "message"),
    [
        (array_file("'<i8'", "(1000000000000,)"), "is 8,000,000,000,000 bytes, and the file has 2"),
        (array_file("'<i8'", "(9223372036854775807,)"), "bytes, and the file has 200"),
        (array_file("'<i8'", "(99999999999999999999999,)"), "bytes, and the file has 200"),
        (array_file("'<i8'", "(1 << 40,)"), "its header is damaged"),
        (array_file("'<i8'", "(-1,)"), r"an array of int64, of shape \(-1,\)"),
        (array_file("'<i8'", "(True,)"), r"an array of int64, of shape \(True,\)"),
        (array_file("'|O'", "(16,)"), "an array of object"),
        (array_file("'<f8'", "(16,)"), "float64 of shape"),
        (b"\x93NUMPY\x01\0\x05\0{'a'", "its header is damaged"),
        (b"\x93NUMPY\x09\0" + bytes(90), "expected whole numbers, one a line, or a .npy file"),
        (b"PK\3\4" + bytes(90), "it is an archive, as .npz is; save one array"),
    ],
)
def test_samples_are_as_many_as_their_header_says(
    content: bytes, message: str, read_rows: Any, tmp_path: Path
) -> None:
    """Before memory is asked for; the format is told by content."""
    rows, tasks = read_rows
    for name in ("samples.npy", "samples"):
        (tmp_path / name).write_bytes(content)
        rows[0]["samples"] = str(tmp_path / name)
        with pytest.raises(TableError, match=message):
            list(Family.from_checkpoints(rows, tasks=tasks))
