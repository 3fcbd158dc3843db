"""What an audit's table says to do next."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_fragility.checks.verdicts import BROKEN, INCONCLUSIVE, KEPT, Record
from pytest_fragility.perturbations import BASELINE
from pytest_fragility.report.next_step import next_step
from pytest_fragility.report.verdict_table import audit_table
from tests.checks.test_judging import lines, make_curves
from tests.report.test_report import REVERSING, records_of


def as_tests(records: list[Record], **test: Any) -> list[Record]:
    """Return records as reports of tests carry them."""
    return [
        {
            **record,
            "test": {
                "rerun": f"pytest --fragility 'test_a.py::test_a[{record['check']}]'",
                "expected": None,
                "marks_seeds": False,
                **test,
            },
        }
        for record in records
    ]


def open_records(**test: Any) -> list[Record]:
    """Return the records of an audit of which 60 seeds would decide what is open."""
    records = records_of(make_curves({BASELINE: lines(-0.2), "adam": lines(-0.2)}))
    records[1] |= {"verdict": INCONCLUSIVE, "seeds_needed": 60}
    return as_tests(records, **test) if test else records


def test_what_breaks_most_comes_first() -> None:
    """The command reruns the first check that is broken under the worst change."""
    measure = {**REVERSING, "lr-x3": lines(-0.2, level=3.0)}
    records = as_tests(records_of(make_curves(measure)))
    assert next_step(records) == "next: pytest --fragility 'test_a.py::test_a[trend-adam]'"
    table = audit_table(records).splitlines()
    assert [line for line in table if "next: " in line] == [f"  {next_step(records)}"]
    assert table[-1] == f"  {next_step(records)}"


def test_a_long_command_is_shortened_or_left_out() -> None:
    """It is one line of 79 columns at most, indented by two."""
    records = as_tests(records_of(make_curves(REVERSING)), rerun="pytest " + "x" * 80)
    assert next_step(records) == "next: trend-adam, with -k trend-adam"
    long = "x" * 79
    renamed = [{**record, "check": long} for record in records]
    assert next_step(renamed) == ""


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        (open_records(), "next: more seeds, with seeds=60"),
        (open_records(marks_seeds=False), "next: more seeds, with --fragility-seeds=60"),
        (open_records(marks_seeds=True), "next: more seeds, with seeds=60 in the marker"),
    ],
    ids=["no test", "an option", "a marker, which goes before options"],
)
def test_more_seeds(records: list[Record], expected: str) -> None:
    """They are asked for where that has an effect."""
    assert next_step(records) == expected


def test_more_looks() -> None:
    """Where seeds are trained as needed, the option allows for more of them."""
    records = [{**record, "looks": [5, 8]} for record in open_records()]
    assert next_step(records) == 'next: more seeds, with seeds="auto-60"'


def test_nothing_to_do() -> None:
    """Nothing is said where all is kept or expected, or nothing would help."""
    kept = records_of(make_curves({BASELINE: lines(-0.2), "adam": lines(-0.2)}))
    assert next_step(kept) == ""
    assert "next" not in audit_table(kept)
    assert next_step(as_tests(records_of(make_curves(REVERSING)), expected="known")) == ""
    assert next_step(open_records(expected="known", marks_seeds=False)) == ""
    hopeless = [{**record, "seeds_needed": None} for record in open_records()]
    assert next_step(hopeless) == ""
    enough = [{**record, "looks": [5, 60]} for record in open_records()]
    assert next_step(enough) == ""


def test_errors_and_controls_come_first() -> None:
    """Before they are put right, nothing else is worth a look."""
    records = as_tests(records_of(make_curves(REVERSING)))
    assert next_step(records, errors=1) == ""
    controls = {**records[0], "kind": "controls", "verdict": BROKEN}
    assert next_step([*records, controls]) == ""
    assert next_step([*records, {**controls, "verdict": KEPT}])
