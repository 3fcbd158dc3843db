"""Several measures side by side: as data, as CSV, for LaTeX."""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from pytest_fragility.report.comparison import compare, comparison_csv, comparison_latex, escaped
from tests.sample_documents import HOSTILE, hostile_document, two_measures

HARMLESS = re.compile(r"\\[a-zA-Z]+|\\[\\{}$&#%_]|[^\\{}$&#%_^~<>|\"]")


def cells_of(latex: str) -> list[list[str]]:
    """Return the cells of a table's rows."""
    rows = [line.removesuffix(r" \\") for line in latex.splitlines() if line.endswith(r" \\")]
    return [re.split(r"(?<!\\)&", row) for row in rows]


def assert_balanced(latex: str) -> None:
    """Assert that braces, dollars and environments all close."""
    bare = re.sub(r"\\[{}$%]", "", latex)
    depth = 0
    for character in bare:
        depth += (character == "{") - (character == "}")
        assert depth >= 0
    assert depth == 0
    assert bare.count("$") % 2 == 0
    begun = re.findall(r"\\begin\{(\w+)\}", latex)
    assert begun[::-1] == re.findall(r"\\end\{(\w+)\}", latex)


def test_a_row_has_the_worst_verdict_of_each_kind_and_what_broke_it() -> None:
    """Kinds that were not asked for, or did not apply, have none."""
    broken, steady = compare(two_measures())
    assert broken.kinds["trend"].verdict == "broken"
    assert broken.kinds["trend"].broken_by == ["adam"]
    assert len(broken.kinds["trend"].applicable) == 3
    assert broken.kinds["symmetry"].broken_by == ["split-neurons"]
    assert broken.kinds["complexity"].verdict is not None
    assert steady.kinds["trend"].verdict == "kept"
    assert "exponent" not in steady.kinds


def test_a_check_that_ended_in_an_error_keeps_its_kind_from_being_kept() -> None:
    """As it does with the whole audit."""
    document = two_measures()
    document["audits"][1]["errors"] = [{"check": "trend-adam", "message": "it diverged"}]
    assert compare(document)[1].kinds["trend"].verdict == "inconclusive"


def test_comma_separated_values_have_a_row_per_measure() -> None:
    """With numbers in full and what broke the measure."""
    document = two_measures()
    rows = list(csv.DictReader(io.StringIO(comparison_csv(document))))
    assert [row["measure"] for row in rows] == ["ruler", "steady"]
    assert [row["verdict"] for row in rows] == [a["verdict"] for a in document["audits"]]
    assert rows[0]["trend"] == "broken"
    assert rows[0]["trend_broken_by"] == "adam"
    assert rows[1]["exponent"] == ""
    slope = document["audits"][0]["checks"][0]["evidence"]["baseline"]
    assert float(rows[0]["slope"]) == slope["mean"]
    assert float(rows[0]["slope_low"]) == slope["low"]


def test_hostile_names_stay_in_their_cell() -> None:
    """Commas, quotes and line breaks are quoted."""
    document = hostile_document()
    document["audits"][0]["measure"] = 'a,"b"\nc'
    (row,) = csv.DictReader(io.StringIO(comparison_csv(document)))
    assert row["measure"] == 'a,"b"\nc'
    assert row["trend_broken_by"] == HOSTILE


@pytest.mark.parametrize("make", [two_measures, hostile_document])
def test_a_table_for_latex_is_well_formed(make: object) -> None:
    """Rules of booktabs, equally long rows, everything closed, nothing unescaped."""
    assert callable(make)
    latex = comparison_latex(make())
    for rule in (r"\toprule", r"\midrule", r"\bottomrule"):
        assert latex.count(rule) == 1
    assert_balanced(latex)
    rows = cells_of(latex)
    columns = re.search(r"\\begin\{tabular\}\{(l+)\}", latex)
    assert columns
    assert {len(row) for row in rows} == {len(columns[1])}
    assert len(rows) == 1 + len(make()["audits"])


def test_a_table_for_latex_says_what_the_document_says() -> None:
    """The verdicts, how many checks broke, and slopes with true minus signs."""
    header, broken, steady = cells_of(comparison_latex(two_measures()))
    assert [cell.strip() for cell in header][:4] == ["measure", "slope", "error's", "trend"]
    assert broken[0].strip() == "ruler"
    assert broken[1].strip() == "$-0.20$ {[}$-0.21$, $-0.19$]"
    assert broken[3].strip() == "broken 1/3"
    assert [cell.strip() for cell in steady][3] == "kept"


@pytest.mark.parametrize("text", [HOSTILE, r"\input{/etc/passwd}", "a_b^c~d#e%f&g$h", "`|<>\n\\"])
def test_text_for_latex_holds_no_command_of_its_own(text: str) -> None:
    """Every special character is escaped, and nothing else is left of it."""
    latex = escaped(text)
    assert "\n" not in latex
    assert r"\input" not in latex
    assert_balanced(latex)
    assert "".join(HARMLESS.findall(latex.replace("{}", "").replace("{[}", "["))) == (
        latex.replace("{}", "").replace("{[}", "[")
    )


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_latex_sets_the_table(tmp_path: Path) -> None:
    """A document with nothing but booktabs holds it."""
    source = tmp_path / "table.tex"
    table = comparison_latex(two_measures())
    source.write_text(
        "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\n"
        f"{table}\\end{{document}}\n"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", source.name]
    finished = subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stdout
