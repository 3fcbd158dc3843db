"""Every kind of check says all that reports, baselines and users need of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest

from pytest_fragility.checks.kind import MEASURE, NOTHING, TASKS, Kind
from pytest_fragility.checks.registry import ASKED_AS, KINDS, asked_as, kind_of, plan_checks
from pytest_fragility.checks.verdicts import Record
from pytest_fragility.report.documents import records_of
from pytest_fragility.report.failure_message import failure_message
from pytest_fragility.report.markdown import markdown_summary
from pytest_fragility.report.page.check_evidence import evidence_of
from pytest_fragility.report.page.marks import mark_of
from pytest_fragility.report.verdict_table import audit_table
from tests.sample_documents import two_measures

README = Path(__file__).parents[2] / "README.md"


@pytest.fixture(scope="module")
def records() -> list[Record]:
    """What checks of all kinds found."""
    return [record for audit in two_measures()["audits"] for record in records_of(audit)]


def with_numbers(kind: Kind, records: list[Record]) -> Iterator[Record]:
    """Yield the records of a kind that have evidence."""
    return (record for record in records if record["kind"] == kind.id and record["evidence"])


def test_the_sample_has_all_kinds(records: list[Record]) -> None:
    """Or the tests below would ask nothing of the others."""
    assert {record["kind"] for record in records} == set(KINDS)
    silent = {kind.id for kind in KINDS.values() if not any(with_numbers(kind, records))}
    assert silent == {"perturbations-admissible"}


def test_a_kind_has_words_for_every_layout(records: list[Record]) -> None:
    """A failure's message, the terminal's table, the page, Markdown."""
    for kind in KINDS.values():
        for record in with_numbers(kind, records):
            evidence = evidence_of(record, mark_of(record, "link"))
            assert evidence.table or evidence.texts
            assert evidence.table is None or all(
                len(row) == len(evidence.table.header) for row in evidence.table.rows
            )
            if kind.section:
                assert any(kind.section.lines([kind], [record]))
            else:
                assert kind.note(record) in " ".join(audit_table([record]).split())
            assert record["measure"] in markdown_summary([[record]])
            if kind.about != NOTHING:
                for verdict in ("broken", "inconclusive"):
                    message = failure_message({**record, "verdict": verdict})
                    headline, _, rest = message.partition("\n")
                    assert kind.headline({**record, "verdict": verdict}) in headline
                    assert all(line.rstrip() in rest for line in kind.numbers(record))
                    assert kind.numbers(record) and str(len(record["seeds"])) in rest


def test_lines_fit_the_terminal(records: list[Record]) -> None:
    """In 80 columns."""
    for kind in KINDS.values():
        for record in with_numbers(kind, records):
            lines = kind.section.lines([kind], [record]) if kind.section else []
            assert all(len(line) <= 80 for text in lines for line in text.split("\n"))


def test_evidence_is_as_the_schema_says(records: list[Record]) -> None:
    """And nothing of it is lost in JSON."""
    jsonschema = pytest.importorskip("jsonschema")
    text = (resources.files("pytest_fragility") / "report" / "audit.schema.json").read_text()
    schema = json.loads(text)
    part = {"$defs": schema["$defs"], "$ref": "#/$defs/check/properties/evidence"}
    for kind in KINDS.values():
        for record in with_numbers(kind, records):
            evidence = record["evidence"]
            jsonschema.Draft202012Validator(part).validate(evidence)
            assert json.loads(json.dumps(evidence, allow_nan=False)) == evidence


def test_a_kind_that_is_asked_for_says_what_it_asserts() -> None:
    """It is about the measure, it has a number for baselines, and checks of its own."""
    for kind in KINDS.values():
        assert bool(kind.asked_as) == (kind.about == MEASURE) == bool(kind.asserts)
        if kind.asked_as:
            planned = plan_checks([kind.asked_as], ["adam"], ["past-x2"])
            own = [check for check in planned if kind_of(check) is kind]
            assert own and all(asked_as(check.id) == kind.asked_as for check in own)
            assert all(
                kind.networks(check).with_ladder == (kind.rests_on == TASKS) for check in own
            )


def test_what_rests_on_numbers_has_one_for_baselines(records: list[Record]) -> None:
    """Its interval is in order, and JUnit XML has the same number."""
    for kind in KINDS.values():
        for record in with_numbers(kind, records):
            quantity = kind.quantity(record)
            assert (quantity is not None) == (kind.about == MEASURE)
            if quantity and None not in (quantity.low, quantity.value, quantity.high):
                assert quantity.low <= quantity.value <= quantity.high  # type: ignore[operator]
                assert quantity in kind.quantities(record).values()


def test_the_readme_tells_of_a_kind() -> None:
    """In the table of checks."""
    text = README.read_text()
    assert "locate=True" in text
    for kind in KINDS.values():
        assert f"| `{kind.asked_as or kind.id}` |" in text or kind.id == "locate"


def test_names_of_kinds_are_told_apart() -> None:
    """By the beginnings of their checks' ids."""
    for name in ASKED_AS:
        assert asked_as(f"{name}-exponent") == name
    assert asked_as("locate-lr") == asked_as("perturbations-admissible") == asked_as("zzz") == ""
