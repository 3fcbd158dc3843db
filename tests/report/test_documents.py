"""Audits as documents, tables of values, and the folder that they are written to."""

from __future__ import annotations

import csv
import errno
import io
import json
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from pytest_fragility import audit
from pytest_fragility.auditing.result import AuditResult
from pytest_fragility.checks.curve_data import curves_of_check, widest
from pytest_fragility.errors import SettingsError
from pytest_fragility.networks.trained_network import TrainedNetwork
from pytest_fragility.recipes import Recipe
from pytest_fragility.report.documents import AuditedMeasure, Document, document
from pytest_fragility.report.folder import (
    COLUMNS,
    DOCUMENT_FILE,
    curves_csv,
    require_report_folder,
    write_report,
)
from pytest_fragility.tasks import Ladder, Task

SIZES, SEEDS = (16, 32, 64), 3


def ruler(network: TrainedNetwork) -> float:
    """Fall with n, by a law that the seed shifts a little."""
    return (1 + 0.01 * network.seed) / network.n


@pytest.fixture(scope="module")
def result(blobs: Task, small_recipe: Recipe) -> AuditResult:
    """An audit of everything, small."""
    return audit(
        ruler,
        task=blobs,
        recipe=small_recipe,
        sizes=SIZES,
        seeds=SEEDS,
        perturbations=["adam", "lr-x3"],
        checkpoints=["past-x2"],
        ladder=Ladder("two", [blobs, Task("blobs again", lambda: blobs.data)]),
        error_margin=9,
        cache_dir=None,
    )


@pytest.fixture(scope="module")
def audited(result: AuditResult) -> AuditedMeasure:
    """What the checks of the audit found."""
    curves = [
        curve
        for verdict in result.verdicts
        for curve in curves_of_check(result.curves, verdict.check)
    ]
    return AuditedMeasure("test_it.py::test_ruler", result.records, {}, curves)


@pytest.fixture
def found(audited: AuditedMeasure) -> Document:
    """The audit's document."""
    return document([audited])


def schema() -> Any:
    """Return the schema that is shipped."""
    text = (resources.files("pytest_fragility") / "report" / "audit.schema.json").read_text()
    return json.loads(text)


def problems(instance: Any) -> list[str]:
    """Return what is against the schema."""
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft202012Validator(schema())
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(instance)]


def test_the_schema_is_one() -> None:
    """By the definition of JSON schemas."""
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator.check_schema(schema())


def test_a_document_is_as_the_schema_says(found: Document, audited: AuditedMeasure) -> None:
    """Read back from JSON; with errors too."""
    assert problems(json.loads(json.dumps(found, allow_nan=False))) == []
    failed = AuditedMeasure("id", audited.records, {"trend-adam": "no"}, audited.curves)
    assert problems(json.loads(json.dumps(document([failed])))) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(schema=2), "1 was expected"),
        (lambda d: d.update(more=1), "'more' was unexpected"),
        (lambda d: d["audits"][0].update(verdict="fine"), "'fine' is not one of"),
        (lambda d: d["audits"][0]["checks"][0].pop("reason"), "'reason' is a required property"),
        (lambda d: d["audits"][0]["curves"][0]["values"][0].append("1"), "'1' is not of type"),
    ],
)
def test_the_schema_refuses_what_is_none(found: Document, change: Any, message: str) -> None:
    """Other fields, other verdicts, missing fields, other types."""
    changed = json.loads(json.dumps(found))
    change(changed)
    assert any(message in problem for problem in problems(changed))


def test_a_document_has_every_verdict(found: Document, result: AuditResult) -> None:
    """And what all checks have in common once."""
    (one,) = found["audits"]
    assert one["id"] == "test_it.py::test_ruler"
    assert one["measure"] == "ruler"
    assert one["verdict"] == result.verdict
    assert {check["check"]: check["verdict"] for check in one["checks"]} == {
        verdict.check.id: verdict.status for verdict in result.verdicts
    }
    assert not {"measure", "task", "alpha"} & set(one["checks"][0])


def test_errors_keep_an_audit_from_being_kept(audited: AuditedMeasure) -> None:
    """As the terminal has it."""
    kept = [record for record in audited.records if record["check"] == "exponent-adam"]
    assert document([AuditedMeasure("id", kept)])["audits"][0]["verdict"] == "kept"
    failed = AuditedMeasure("id", kept, {"trend-adam": "no"})
    assert document([failed])["audits"][0]["verdict"] == "inconclusive"
    assert document([AuditedMeasure("id")])["audits"] == []


def test_curves_are_those_of_the_audit(found: Document, result: AuditResult) -> None:
    """Under every recipe, and over the ladder; the measure's and test error's."""
    curves = {
        (curve["quantity"], curve["task"], curve["recipe"]): curve
        for curve in found["audits"][0]["curves"]
    }
    recipes = ["baseline", "adam", "lr-x3", "past-x2"]
    expected = {
        (quantity, "blobs", recipe) for quantity in ("measure", "test error") for recipe in recipes
    }
    expected |= {(quantity, "blobs again", "baseline") for quantity in ("measure", "test error")}
    assert set(curves) == expected
    for recipe in recipes:
        assert curves["measure", "blobs", recipe]["values"] == [
            [(1 + 0.01 * seed) / n for seed in range(SEEDS)] for n in SIZES
        ]
        error = curves["test error", "blobs", recipe]
        assert error["values"] == result.curves.error[recipe].values.tolist()
        assert error["description"] == result.curves.recipes[recipe]
        assert (error["sizes"], error["seeds"]) == ([16, 32, 64], [0, 1, 2])


def test_nothing_is_measured_for_a_report(blobs: Task, small_recipe: Recipe) -> None:
    """Curves of an inadmissible change, which no check has asked for, are test error's alone."""
    asked: list[str] = []

    def noting(network: TrainedNetwork) -> float:
        asked.append(network.recipe_name)
        return 1 / network.n

    inadmissible = audit(
        noting,
        task=blobs,
        recipe=small_recipe,
        sizes=SIZES,
        seeds=SEEDS,
        perturbations=["adam"],
        checks=["trend"],
        trend="decreasing",
        ladder="none",
        error_margin=0,
        cache_dir=None,
    )
    before = len(asked)
    verdict = inadmissible["trend-adam"]
    curves = curves_of_check(inadmissible.curves, verdict.check)
    assert len(asked) == before
    known = set(asked)
    assert {c["recipe"] for c in curves if c["quantity"] == "measure"} <= known
    assert {c["recipe"] for c in curves if c["quantity"] == "test error"} == {"baseline", "adam"}


def test_of_several_looks_the_widest_counts(audited: AuditedMeasure) -> None:
    """Where checks have closed at different numbers of seeds."""
    curve = audited.curves[0]
    more = curve | {"seeds": [*curve["seeds"], 9]}
    assert widest([curve, more, curve]) == [more]


def test_values_as_one_table(found: Document) -> None:
    """One row each, with all digits, test error's once."""
    rows = list(csv.DictReader(io.StringIO(curves_csv(found))))
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == 2 * (4 + 1) * len(SIZES) * SEEDS
    values = {
        (row["measure"], row["task"], row["recipe"], int(row["n"]), int(row["seed"])): row["value"]
        for row in rows
    }
    assert float(values["ruler", "blobs", "adam", 32, 2]) == 1.02 / 32
    twice = found | {"audits": found["audits"] * 2}
    assert curves_csv(twice) == curves_csv(found)


def test_names_with_commas_and_quotes_stay_whole(found: Document) -> None:
    """As CSV has them."""
    found["audits"][0]["measure"] = 'a, "b"'
    rows = csv.DictReader(io.StringIO(curves_csv(found)))
    assert {row["measure"] for row in rows} == {'a, "b"', "test error"}


def test_a_folder_has_all_files_whole(found: Document, tmp_path: Path) -> None:
    """A second report takes the first one's place, and leaves other files alone."""
    folder = tmp_path / "deep" / "report"
    paths = write_report(folder, found)
    assert json.loads((folder / DOCUMENT_FILE).read_text(encoding="utf-8")) == found
    assert (folder / "curves.csv").read_text(encoding="utf-8") == curves_csv(found)
    (folder / "notes.txt").write_text("mine")
    found["audits"][0]["measure"] = "another"
    write_report(folder, found)
    assert '"another"' in (folder / DOCUMENT_FILE).read_text(encoding="utf-8")
    assert {path.name for path in folder.iterdir()} == {"notes.txt", *(p.name for p in paths)}


def test_what_is_no_report_is_not_replaced(found: Document, tmp_path: Path) -> None:
    """A page, or a table, of somebody's."""
    for name in ("index.html", "audit.json", "summary.md"):
        folder = tmp_path / name.partition(".")[0]
        folder.mkdir()
        (folder / name).write_text("mine")
        with pytest.raises(SettingsError, match=f"holds a file {name} that is not of a report"):
            write_report(folder, found)
        assert [path.name for path in folder.iterdir()] == [name]
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="it is no folder"):
        require_report_folder(tmp_path / "file")


def test_a_failed_write_leaves_the_old_report(
    found: Document, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither half a file nor a temporary one."""
    write_report(tmp_path, found)
    before = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}

    def fail(path: Path, text: str, **options: str) -> None:
        with path.open("w") as file:
            file.write(text[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", fail)
        with pytest.raises(SettingsError, match="cannot be written: No space left on device"):
            write_report(tmp_path, found)
    assert {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()} == before
