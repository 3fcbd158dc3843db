"""Tables as people have them: data frames, JSON Lines, spreadsheets' CSV, indexes, epochs."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pytest_fragility import Family, TableError
from pytest_fragility.families.measured_family import MeasuredFamily
from tests.families.conftest import Row, table_rows
from tests.in_turn import in_turn

ROWS = table_rows()
COLUMNS = {name: [row[name] for row in ROWS] for name in ROWS[0]}


def content(table: MeasuredFamily) -> Any:
    """Return all that a table holds, but where it stands."""
    return table.measures, [
        (each.place, each.cells, each.counted, each.description, each.unfinished)
        for each in table.networks
    ]


EXPECTED = content(Family.from_table(ROWS))


def csv_of(rows: Sequence[Row], delimiter: str = ",") -> str:
    """Return rows as separated values."""
    text = io.StringIO()
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(text, names, delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def lines_of(rows: Sequence[Row]) -> str:
    """Return rows as JSON Lines."""
    return "".join(f"{json.dumps(row)}\n" for row in rows)


def with_commas(rows: Sequence[Row]) -> list[Row]:
    """Return rows whose numbers have decimal commas."""
    return [
        {name: str(v).replace(".", ",") if isinstance(v, float) else v for name, v in row.items()}
        for row in rows
    ]


FILES: dict[str, str] = {
    "JSON": json.dumps(ROWS, indent=1),
    "JSON Lines": lines_of(ROWS),
    "JSON Lines with spaces": "\ufeff\n" + lines_of(ROWS).replace("\n", "\r\n\n"),
    "JSON columns": json.dumps(COLUMNS),
    "JSON columns by row": json.dumps(
        {name: dict(enumerate(values)) for name, values in COLUMNS.items()}
    ),
    "semicolons": csv_of(ROWS, ";"),
    "tabs": csv_of(ROWS, "\t"),
    "a line of Excel's": "sep=;\n" + csv_of(ROWS, ";"),
    "decimal commas": csv_of(with_commas(ROWS), ";"),
    "decimal commas and tabs": "\ufeff" + csv_of(with_commas(ROWS), "\t"),
    "spaces": csv_of([{f" {k}": f" {v} " for k, v in row.items()} for row in ROWS]),
}


@in_turn("kind", FILES)
def test_files_are_told_by_their_content(kind: str, tmp_path: Path) -> None:
    """Whatever they are called, gzipped or not."""
    text = FILES[kind].encode()
    for ending, packed in ((".csv", False), (".json", True), (".txt", False), (".csv.gz", True)):
        path = tmp_path / f"values{ending}"
        path.write_bytes(gzip.compress(text) if packed else text)
        assert content(Family.from_table(path)) == EXPECTED


def test_a_table_without_tasks_is_called_by_its_file(tmp_path: Path) -> None:
    """Without its endings."""
    path = tmp_path / "values.csv.gz"
    rows = [{name: v for name, v in row.items() if name != "task"} for row in ROWS]
    path.write_bytes(gzip.compress(csv_of(rows).encode()))
    assert {each.task for each in Family.from_table(path).networks} == {"values"}


HEADER = b"recipe,n,seed,test_error,m\n"
MANY = b"".join(b",tst_size%d" % place for place in range(100_000))
BROKEN: list[tuple[str, bytes, str]] = [
    ("a cut line", lines_of(ROWS)[:-9].encode(), "values.csv, line 30: it is no JSON"),
    ("a name twice", b'[{"n": 1, "n": 2}]', "two values are called 'n'"),
    ("lines of lists", b'{"n": 1}\n[2]\n', "line 2: [2]: expected values by column name"),
    ("columns of two lengths", b'{"n": [1, 2], "m": [1]}', "column 'm' has other rows"),
    ("a damaged archive", gzip.compress(b"recipe,n\n" * 99)[:-20], "cannot be read: "),
    ("zeros", gzip.compress(bytes(1 << 25)), "bytes unpack to more than 16,777,216"),
    ("Parquet", b"PAR1\x15\x04\xff", "no text in UTF-8 (byte 6) but a Parquet file; save it"),
    ("a workbook", b"PK\x03\x04\xff", "but a workbook of Excel or another archive"),
    (
        "a pointer",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 12\n",
        "values.csv: it is a Git LFS pointer, not the file that it stands for; run git lfs pull",
    ),
    ("a web page", b"\n<!DOCTYPE html>\n<title>404</title>", "it is a web page; download the file"),
    ("UTF-16", "recipe,n\n".encode("utf-16"), "it is no text in UTF-8 (byte 0) but text in UTF-16"),
    (
        "a comma of two meanings",
        b"recipe;n;seed;test_error;m\nbaseline;32;0;0.5;1,234\n",
        "line 2: '1,234' may have a decimal comma, or one that separates thousands",
    ),
    (
        "points and commas",
        b"recipe;n;seed;test_error;m\nbaseline;32;0;0,5;1.234\n",
        "line 2: '1.234' has a point, and '0,5' in line 2 a decimal comma",
    ),
    (
        "numbers without a name",
        b"recipe,n,seed,test_error,m,\n" + b"baseline,32,0,.1,2,2.37\n" * 3,
        "column 6 has no name, and its numbers do not count the rows ('2.37', '2.37', ",
    ),
    ("nulls", HEADER.decode().encode("utf-16-le"), "values.csv"),
    (
        "a long field",
        HEADER + b"baseline,1,0,.1," + b"1" * 200_000,
        "line 2: field larger",
    ),
    ("many columns", HEADER.strip() + MANY + b"\na,1,0,.1,1\n", "it has 100,005 columns"),
    ("digits", HEADER + b"baseline," + b"9" * 5000 + b",0,.1,1\n", "n='999"),
    ("empty", b"", "it has no rows; expected one for each network"),
    (
        "semicolons",
        b"recipe;n;seed\na;1;2\n",
        "no column 'test_error'. Its columns are recipe, n, seed",
    ),
    ("one name twice", b"recipe,n,n\n", "two columns are called 'n'"),
    (
        "too many values",
        HEADER + b"baseline,1,0,0.1,2,3\n",
        "line 2: 6 values, where",
    ),
    ("open quotes", HEADER + b'"baseline,1,0,0.1,2\n', "line 2: unexpected end of data"),
    (
        "misspelt",
        b"recipe,n,sede,test_error,m\na,1,0,1,1\n",
        "no column 'seed' (did you mean 'sede'?)",
    ),
    (
        "lines",
        HEADER + b"baseline,32,0,.1,1\n\nbaseline,64,0,x,1\n",
        "line 4: test_error",
    ),
]


@in_turn(("text", "message"), [pytest.param(*row[1:], id=row[0]) for row in BROKEN])
def test_files_that_cannot_be_read_say_why(text: bytes, message: str, tmp_path: Path) -> None:
    """And where."""
    path = tmp_path / "values.csv"
    path.write_bytes(text)
    with pytest.raises(TableError) as raised:
        Family.from_table(path)
    assert message in str(raised.value)


def of_pandas(change: Callable[[Any, Any], Any]) -> Callable[[], Any]:
    """Return what makes a frame of pandas, changed."""

    def make() -> Any:
        pandas = pytest.importorskip("pandas", reason="needs pandas")
        return change(pandas.DataFrame(ROWS), pandas)

    return make


def of_polars(change: Callable[[Any, Any], Any]) -> Callable[[], Any]:
    """Return what makes a frame of polars, changed."""

    def make() -> Any:
        polars = pytest.importorskip("polars", reason="needs polars")
        return change(polars.DataFrame(ROWS), polars)

    return make


def of_arrow() -> Any:
    """Return a table of Arrow's."""
    return pytest.importorskip("pyarrow", reason="needs pyarrow").Table.from_pylist(ROWS)


def concatenated(frame: Any, pandas: Any) -> Any:
    """Return a frame that was put together, and written with its index and without."""
    both = pandas.concat([frame[:15], frame[15:].reset_index(drop=True)])
    text = io.StringIO(pandas.read_csv(io.StringIO(both.to_csv())).to_csv())
    again = pandas.read_csv(text)
    assert list(again.columns)[:2] == ["Unnamed: 0.1", "Unnamed: 0"]
    return again


FRAMES: dict[str, Callable[[], Any]] = {
    "pandas": of_pandas(lambda frame, _: frame),
    "nullable": of_pandas(lambda frame, _: frame.convert_dtypes()),
    "categories": of_pandas(lambda frame, _: frame.astype({"recipe": "category", "n": "float"})),
    "objects": of_pandas(lambda frame, _: frame.astype(object)),
    "an index of data": of_pandas(lambda frame, _: frame.set_index(["task", "recipe", "n"])),
    "one level of data": of_pandas(lambda frame, _: frame.set_index("seed")),
    "an index become a column": of_pandas(lambda frame, _: frame.reset_index()),
    "two indexes": of_pandas(concatenated),
    "polars": of_polars(lambda frame, _: frame),
    "a lazy frame": of_polars(lambda frame, _: frame.lazy()),
    "an index of polars": of_polars(lambda frame, _: frame.with_row_index()),
    "decimals": of_polars(
        lambda frame, polars: frame.with_columns(polars.col("n").cast(polars.Decimal(9, 2)))
    ),
    "Arrow": of_arrow,
    "a dict of columns": lambda: COLUMNS,
    "a dict of arrays": lambda: {name: np.array(values) for name, values in COLUMNS.items()},
    "scalars of NumPy": lambda: [
        {name: np.array(value)[()] for name, value in row.items()} for row in ROWS
    ],
    "decimals in a list": lambda: [{**row, "n": Decimal(row["n"])} for row in ROWS],
    "an index of R": lambda: [{"X": str(place), **row} for place, row in enumerate(ROWS, 1)],
    "names of rows": lambda: [{"": f"run-{place}", **row} for place, row in enumerate(ROWS)],
}


@in_turn("kind", FRAMES)
def test_data_frames_of_any_kind_are_read(kind: str) -> None:
    """With or without an index, which is no measure; one with names is data."""
    found = Family.from_table(FRAMES[kind]())
    assert set(found.measures) == {"steady", "fragile"}
    assert content(found)[1] == EXPECTED[1]


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_nothing_in_a_frame_is_nothing(library: str) -> None:
    """What pandas has for it, and what was read as text; polars tells NaN from nothing."""
    frames = pytest.importorskip(library, reason=f"needs {library}")
    for missing in (None, "NA", "null", "-", *([float("nan")] if library == "pandas" else [])):
        is_text = isinstance(missing, str)
        rows = [
            {**row, "fragile": str(row["fragile"]) if is_text else row["fragile"]} for row in ROWS
        ]
        rows[3]["fragile"] = missing
        found = Family.from_table(frames.DataFrame(rows))
        assert "fragile" not in found.networks[3].values
        assert content(found)[1][4:] == EXPECTED[1][4:]


def test_a_measure_without_values_where_nothing_has_ended_is_one() -> None:
    """What is written of trainings that all diverged is read back."""
    rows = [{**row, "fragile": "", "unfinished": "a run diverged"} for row in ROWS]
    assert Family.from_table(rows).measures == ("steady", "fragile")


def test_names_of_columns_may_be_numbers() -> None:
    """In pandas; which columns are lacking is told of a frame that is turned."""
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    frame = pandas.DataFrame(ROWS)
    assert Family.from_table(frame.rename(columns={"steady": 0})).measures == ("0", "fragile")
    with pytest.raises(TableError, match="the data frame: no column 'recipe'"):
        Family.from_table(frame.T)


def test_what_is_no_number_in_a_frame_of_polars_is_told() -> None:
    """There it is not what is missing."""
    polars = pytest.importorskip("polars", reason="needs polars")
    rows = [{**row} for row in ROWS]
    rows[3]["fragile"] = float("nan")
    with pytest.raises(TableError, match="row 3: fragile=nan: expected a finite number; leave"):
        Family.from_table(polars.DataFrame(rows))


def test_frames_that_cannot_be_read_say_why() -> None:
    """Two columns of one name, a query that fails, and what is no frame."""
    polars = pytest.importorskip("polars", reason="needs polars")
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    twice = pandas.DataFrame([[1, 2]], columns=["n", "n"])
    with pytest.raises(TableError, match=r"the data frame cannot be read: .*'n' 2 times"):
        Family.from_table(twice)
    also_index = pandas.DataFrame(ROWS).set_index("n", drop=False)
    with pytest.raises(TableError, match="the data frame: two columns are called 'n'"):
        Family.from_table(also_index)
    lazy = polars.DataFrame(ROWS).lazy().select("nowhere")
    with pytest.raises(TableError, match="the data frame cannot be read: ColumnNotFoundError"):
        Family.from_table(lazy)
    with pytest.raises(TableError, match=r"table=array.*: expected the path of a CSV or JSON"):
        Family.from_table(np.zeros(3))


def test_files_are_read_without_the_library_of_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is imported where somebody has a frame."""
    monkeypatch.setitem(sys.modules, "narwhals", None)
    path = tmp_path / "values.csv"
    path.write_text(csv_of(ROWS), encoding="utf-8")
    for source in (path, ROWS, COLUMNS):
        assert content(Family.from_table(source)) == EXPECTED


@in_turn("cells", ["whole", "floats", "texts", "sorted", "again"])
def test_columns_that_count_the_rows_are_left_out(cells: str) -> None:
    """However they are called and written, and whichever rows were kept."""
    count = len(ROWS)
    values: dict[str, list[Any]] = {
        "whole": list(range(count)),
        "floats": [float(place) for place in range(count)],
        "texts": [str(place) for place in range(1, count + 1)],
        "sorted": [7 * place % 31 for place in range(count)],
        "again": [*range(count // 2), *range(count // 2)],
    }
    for name in ("Unnamed: 0", "Unnamed: 0.1", "index", "level_0", "X", "row", ""):
        table = [{name: v, **row} for v, row in zip(values[cells], ROWS, strict=True)]
        assert content(Family.from_table(table)) == EXPECTED


def test_an_index_of_measured_values_is_a_measure() -> None:
    """A name alone leaves nothing out."""
    table = [{**row, "index": row["steady"], "X": 3 * row["steady"]} for row in ROWS]
    assert Family.from_table(table).measures == ("steady", "fragile", "index", "X")


def test_columns_that_are_no_measures_are_named_with_what_to_do() -> None:
    """Row numbers under another name, and all that are texts, at once."""
    counted = [{**row, "run": place} for place, row in enumerate(ROWS)]
    with pytest.raises(TableError, match=r"column 'run' counts the rows.*begin its name with '_'"):
        Family.from_table(counted)
    texts = {"Name": "run-1", "State": "finished", "Done": True, "Notes": "", "Tags": "NA"}
    exported = [{**row, **texts} for row in ROWS]
    with pytest.raises(TableError) as raised:
        Family.from_table(exported)
    assert str(raised.value) == (
        "the list: no numbers in columns 'Name' ('run-1': expected a number), 'State' "
        "('finished': expected a number), 'Done' (True: expected a number), 'Notes' (empty), "
        "'Tags' (empty); a column that has no meaning of its own holds a measure's values. Leave "
        "out what is none, or begin its name with '_'"
    )
    renamed = [{f"_{k}" if k in texts else k: v for k, v in r.items()} for r in exported]
    assert content(Family.from_table(renamed)) == EXPECTED


def with_cell(column: str, cell: Any) -> list[Row]:
    """Return rows of which the fourth has another cell."""
    return [{**row, column: cell} if place == 3 else row for place, row in enumerate(ROWS)]


def test_cells() -> None:
    """One meaning each."""
    nothing = dict.fromkeys(("", " ", "NA", "N/A", "n/a", "null", "NULL", "None", "-"))
    share = dict.fromkeys((" 0.319 ", " .319", "3.19e-1 ", "31.9%", " 31.9 % ", "+.319"), 0.319)
    for cell, value in {**nothing, **share, "1e3": 1000.0, "5.": 5.0}.items():
        found = Family.from_table(with_cell("fragile", cell)).networks[3].values
        assert found.get("fragile") == value, cell


REFUSED: list[tuple[str, str, tuple[Any, ...]]] = [
    (
        "fragile",
        "expected a number",
        (
            *("1,234.5", "0,5", "1 234", "1_000", "1'000", "0x1p3", "big", "1e", ".", "%"),
            *("\u0661\u0662", "\uff11\uff12"),
        ),
    ),
    (
        "fragile",
        "expected a finite number; leave the cell",
        ("nan", "-inf", "Infinity", "1e999", float("inf")),
    ),
    *(
        (
            column,
            "expected a whole number",
            (
                *("3_2", "32.5", "0x20", "3 2", "3,2", "3e999999999", "5%", True),
                *("\uff13\uff12", "\u0663\u0662", "1e-3"),
            ),
        )
        for column in ("n", "seed")
    ),
]


@in_turn(("column", "message", "cells"), REFUSED)
def test_cells_that_are_refused(column: str, message: str, cells: tuple[Any, ...]) -> None:
    """What could be two numbers, is none, or what Python's int() takes."""
    for cell in cells:
        with pytest.raises(TableError) as raised:
            Family.from_table(with_cell(column, cell))
        assert str(raised.value).startswith(f"the list, row 3: {column}={cell!r}: {message}")


def test_sizes() -> None:
    """As spreadsheets and frames have them."""
    for cell in ("32", "32.0", " 32 ", "3.2e1", 32.0, np.int32(32), Decimal("32.00")):
        assert content(Family.from_table(with_cell("n", cell))) == EXPECTED


def test_percentages_are_shares() -> None:
    """The very numbers that the shares are."""
    rows = [{**row, "test_error": f"{100 * row['test_error']:.2f}%"} for row in ROWS]
    assert content(Family.from_table(rows)) == EXPECTED


def test_na_may_be_a_name_and_is_no_reason() -> None:
    """A task and a recipe may be called so."""
    rows = [
        {**row, "task": "NA", "recipe": row["recipe"].replace("adam", "NA"), "unfinished": "None"}
        for row in ROWS
    ]
    found = Family.from_table(rows)
    assert {each.task for each in found.networks} == {"NA"}
    assert {each.recipe for each in found.networks} == {"baseline", "NA"}
    assert {each.unfinished for each in found.networks} == {""}


def epochs(**columns: Callable[[int], Any]) -> list[Row]:
    """Return a row for each of four epochs of each network."""
    return [
        {**row, "steady": row["steady"] * (4 - epoch), **{k: v(epoch) for k, v in columns.items()}}
        for row in ROWS
        for epoch in range(4)
    ]


@in_turn(
    ("rows", "hint"),
    [
        (
            epochs(step=lambda epoch: 10 * epoch),
            "an epoch column was probably flattened ('step' co",
        ),
        (
            epochs(_epoch=lambda epoch: epoch),
            "an epoch column was probably flattened: keep one row",
        ),
        (
            [*ROWS, *ROWS, *ROWS, *ROWS],
            "with the same values: the table probably holds its rows tw",
        ),
    ],
)
def test_rows_of_epochs_are_told_at_once(rows: list[Row], hint: str) -> None:
    """How many there are, and why they probably are."""
    with pytest.raises(TableError) as raised:
        Family.from_table(rows)
    message = str(raised.value)
    assert "\n" not in message and hint in message
    assert "task toy, recipe baseline, n=32, seed 0 stands in row 0 too, and 90 of 120" in message


def test_manifests_are_read_alike(exported: Path, blobs: Any, hard_blobs: Any) -> None:
    """With an index, as a frame, and with rows that are of one network told at once."""
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    tasks = {blobs.name: blobs, hard_blobs.name: hard_blobs}
    rows = pandas.read_csv(exported / "manifest.csv")
    for column in ("checkpoint", "initial_checkpoint", "samples"):
        rows[column] = [str(exported / path) for path in rows[column]]
    family = Family.from_checkpoints(rows.reset_index(), tasks=tasks)
    expected = Family.from_checkpoints(exported / "manifest.csv", tasks=tasks)
    assert len(family) == len(expected)
    thrice = pandas.concat([rows, rows, rows])
    with pytest.raises(TableError, match=r"54 of 81 rows are of a network of another row.*twice"):
        Family.from_checkpoints(thrice, tasks=tasks)
