"""CSV files hold values: what a spreadsheet would run is marked, and read back as it was."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pytest_fragility import audit
from pytest_fragility._util.csv_texts import csv_text, unmarked
from pytest_fragility.families.family import Family
from pytest_fragility.report.comparison import comparison_csv
from pytest_fragility.report.documents import AuditedMeasure, document
from pytest_fragility.report.folder import curves_csv
from pytest_fragility.tasks import Task
from tests.families.conftest import table_rows
from tests.families.test_tables import write
from tests.in_turn import in_turn

BEGINNINGS = [*"=+-@\t\r\n", "\uff1d", "\uff0b", "\uff0d", "\uff20"]
FORMULA = "=cmd|' /C calc'!A0"


def raw_cells(text: str) -> list[list[str]]:
    """Return what any other program reads."""
    return list(csv.reader(io.StringIO(text, newline="")))


@in_turn("beginning", BEGINNINGS)
def test_texts_that_begin_like_a_formula_are_marked_and_quoted(beginning: str) -> None:
    """As cells and as column names; numbers are not."""
    text = csv_text([f"{beginning}a", "b"], [[f'{beginning}1,"2";3', -0.3]])
    assert text.startswith(f'"\'{beginning}a",b\n"\'{beginning}1,""2"";3",-0.3')
    cells = raw_cells(text)
    assert cells == [[f"'{beginning}a", "b"], [f'\'{beginning}1,"2";3', "-0.3"]]
    assert [unmarked(row[0]) for row in cells] == [f"{beginning}a", f'{beginning}1,"2";3']


def test_numbers_keep_their_digits_and_plain_texts_their_look() -> None:
    """Of NumPy too; nothing but a comma, a quote or a break has a text quoted."""
    values = [-0.1 - 0.2, np.float64(-1e-300), -math.inf, math.nan, -3, True, None, "a'b", "1-2"]
    written = "-0.30000000000000004,-1e-300,-inf,nan,-3,True,,a'b,1-2\n"
    assert csv_text(["a"] * 9, [values]).splitlines(keepends=True)[1] == written


@given(st.lists(st.text(st.sampled_from(["'", *BEGINNINGS, *'",; ab'])), min_size=2, max_size=4))
def test_any_text_is_read_back(texts: list[str]) -> None:
    """One that was marked already, or begins with an apostrophe, too."""
    (_, cells) = raw_cells(csv_text(["a"] * len(texts), [texts]))
    read = [cell if unmarked(cell) is None else unmarked(cell) for cell in cells]
    assert read == texts
    assert not any(cell.startswith(tuple(BEGINNINGS)) for cell in cells)


@in_turn("name", [FORMULA, f"'{FORMULA}", "-m", "\uff1dm", "'m", "@SUM(1;2)"])
def test_a_table_is_read_back_as_it_was(name: str, tmp_path: Path) -> None:
    """Names of measures, tasks and descriptions; what somebody else wrote is not changed."""
    rows = table_rows(task=name)
    for row in rows:
        row |= {name: row.pop("fragile"), "description": f"{name} x"}
    found = audit(name, table=rows)
    found.curves.to_table(tmp_path / "values.csv")
    for line in raw_cells((tmp_path / "values.csv").read_text(encoding="utf-8")):
        assert not any(cell.startswith(tuple("=+-@\uff1d")) for cell in line)
    again = audit(name, table=tmp_path / "values.csv")
    assert again.curves.task_name == name
    assert again.curves.recipes == found.curves.recipes
    assert again.to_dict()["checks"] == found.to_dict()["checks"]
    if not name.startswith("'="):
        assert audit(name, table=write(tmp_path / "own.csv", rows)).curves.task_name == name


def test_reports(tmp_path: Path) -> None:
    """Curves and comparisons hold no formula."""
    rows = table_rows(task=FORMULA)
    for row in rows:
        row[FORMULA] = row.pop("fragile")
    result = audit(FORMULA, table=rows)
    curves: list[dict[str, Any]] = [
        {
            "quantity": "measure",
            "task": FORMULA,
            "recipe": "baseline",
            "description": FORMULA,
            "sizes": [32],
            "seeds": [0, 1],
            "values": [[-0.5, 0.25]],
        }
    ]
    records = [{**record, "place": 0} for record in result.records]
    found = document([AuditedMeasure(FORMULA, records, {}, curves)])
    for text in (curves_csv(found), comparison_csv(found)):
        assert f"'{FORMULA}" in text
        for line in raw_cells(text):
            assert not any(cell.startswith(tuple("=+@")) for cell in line)
    assert raw_cells(curves_csv(found))[1][-1] == "-0.5"


def test_a_manifest_is_read_back_as_it_was(
    blobs: Task, small_family: Family, tmp_path: Path
) -> None:
    """The names of its tasks."""
    named = Task(FORMULA, blobs.load)
    family = Family.from_checkpoints(exported(small_family, tmp_path), tasks={FORMULA: named})
    family.export(tmp_path / "again")
    text = (tmp_path / "again" / "manifest.csv").read_text(encoding="utf-8")
    assert f'"\'{FORMULA}"' in text
    again = Family.from_checkpoints(tmp_path / "again" / "manifest.csv", tasks={FORMULA: named})
    assert again.task.name == FORMULA and len(list(again)) == len(list(family))


def exported(family: Family, folder: Path) -> Path:
    """Return a manifest whose task is called by a formula."""
    family.export(folder / "first")
    path = folder / "first" / "manifest.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return write(path, [{**row, "task": FORMULA} for row in rows])
