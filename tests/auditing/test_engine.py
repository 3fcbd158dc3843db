"""A call of `audit` and a session of pytest find the same: verdicts, evidence and errors."""

from __future__ import annotations

import json
import runpy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pytest_fragility import audit
from pytest_fragility.auditing.engine import Engine, Request
from pytest_fragility.auditing.from_settings import train_family, train_plans
from pytest_fragility.checks.check import Needs
from pytest_fragility.checks.verdicts import Record
from pytest_fragility.errors import FragilityError, TaskError
from pytest_fragility.families.family import Family
from pytest_fragility.families.plan import FamilyPlan
from pytest_fragility.networks.trained_network import TrainedNetwork
from pytest_fragility.perturbations import BASELINE
from pytest_fragility.plugin.gathering import message_of
from pytest_fragility.recipes import Recipe
from pytest_fragility.settings import AuditSettings, resolve_settings
from pytest_fragility.tasks import Task
from tests.families.conftest import table_rows
from tests.families.test_tables import write
from tests.plugin.conftest import Project

# what both sides are asked for: five ways to come by networks or values, three measures
CELLS = """
import torch
from audits import *

TRAINED = {
    **SMALL,
    "recipe": SMALL["recipe"].replace(stopping=fixed_steps(5)),
    "sizes": (16, 32),
    "checks": ["trend", "exponent"],
    "cache_dir": "cache",
}
JUDGED = {name: TRAINED[name] for name in ("error_margin", "trend", "checks")}
WAYS = {
    "fixed": TRAINED,
    "auto": {**TRAINED, "seeds": "auto-8"},
    "table": {**JUDGED, "table": "values.csv"},
    "checkpoints": {**JUDGED, "manifest": "networks/manifest.csv", "task": SMALL["task"]},
    "located": {**TRAINED, "checks": "trend", "locate": ["batch"]},
}


def sound(network):
    return network.n ** (0.5 if network.recipe.batch_size >= 64 else -1.0)


def raising(network):
    if network.recipe_name in ("adam", "batch-x4") and (network.n, network.seed) == (16, 1):
        raise ZeroDivisionError("singular")
    return sound(network)


def drawing(network):
    return (1 + 0.1 * torch.rand(1, generator=network.rng).item()) / network.n


MEASURES = {each.__name__: each for each in (sound, raising, drawing)}
"""
# on a table, a value without a logarithm is what an error of the measure is on networks
TESTS = """
@pytest.mark.fragility({measure}, **WAYS["{way}"])
def test_{way}_{name}(check):
    check()

"""
MEASURES = ("sound", "raising", "drawing")
Found = dict[str, Record | tuple[str, str]]


@pytest.fixture
def project(pytester: pytest.Pytester) -> Project:
    """A project that runs pytest in this process."""
    return Project(pytester)


@pytest.fixture
def cells(project: Project) -> dict[str, Any]:
    """What the project's tests ask for, with the table and the checkpoints that they name."""
    project.pytester.syspathinsert()
    (project.path / "cells.py").write_text(CELLS)
    cells = runpy.run_path(str(project.path / "cells.py"))
    rows = [
        {
            **row,
            "sound": 1 / row["n"],
            "raising": float(row["seed"] != 1 or row["recipe"] == BASELINE) / row["n"],
            "drawing": row["steady"],
        }
        for row in table_rows()
    ]
    write(project.path / "values.csv", rows)
    train_family(resolve_settings(cells["TRAINED"])).export(Path("networks"))
    return cells


def found_by_sessions(project: Project) -> dict[str, Found]:
    """Return what one run of pytest found, by test: a record of each check, or its error."""
    tests = [
        TESTS.format(way=way, name=name, measure=f"'{name}'" if way == "table" else name)
        for way in ("fixed", "auto", "table", "checkpoints", "located")
        for name in MEASURES
    ]
    (project.path / "test_cells.py").write_text("from cells import *\n" + "".join(tests))
    _, reports = project.reports("test_cells.py", "--tb=line", "--durations=12", "-q")
    found: dict[str, Found] = {}
    for report in reports:
        test, _, check = report.nodeid.partition("::")[2].rstrip("]").partition("[")
        records = [json.loads(str(value)) for _, value in report.user_properties]
        kind, _, text = message_of(report).partition(": ")
        here = found.setdefault(test, {})
        here[check] = records[0] if records else (kind.rpartition(".")[2], text)
    return found


def found_by_calls(cells: dict[str, Any], way: str, name: str) -> Found:
    """Return what a call of `audit` finds, in the same form."""
    measure = name if way == "table" else cells["MEASURES"][name]
    result = audit(measure, **cells["WAYS"][way])
    errors = {check: (type(each).__name__, str(each)) for check, each in result.errors.items()}
    return {**{each["check"]: json.loads(json.dumps(each)) for each in result.records}, **errors}


def test_a_call_and_a_session_find_the_same(project: Project, cells: dict[str, Any]) -> None:
    """Status, evidence and curves of each check, or the error that kept it from its verdict."""
    sessions = found_by_sessions(project)
    of_a_test = ("settings", "test")
    for way in cells["WAYS"]:
        for name in MEASURES:
            expected = found_by_calls(cells, way, name)
            found = {
                check: {part: each[part] for part in each if part not in of_a_test}
                if isinstance(each, dict)
                else each
                for check, each in sessions[f"test_{way}_{name}"].items()
            }
            assert found == expected, (way, name)
            failed = {check for check, each in found.items() if isinstance(each, tuple)}
            assert ("trend-adam" in failed) == (name == "raising"), (way, name)
            if way == "located":
                assert ("locate-batch" in failed) == (name == "raising")
    located = sessions["test_located_sound"]["locate-batch"]
    assert isinstance(located, dict) and "batch-x4" in located["reason"]


# training


class Trainings:
    """Trains families, and keeps how many plans each call was given."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def __call__(
        self, plans: Sequence[FamilyPlan], settings: AuditSettings, *, budget: Any = None
    ) -> list[Family]:
        """Train them."""
        self.calls.append(len(plans))
        return train_plans(plans, settings)


def falling(network: TrainedNetwork) -> float:
    """Return a measure that is kept."""
    return 1 / network.n


@pytest.fixture
def options(blobs: Task, small_recipe: Recipe) -> dict[str, Any]:
    """What all audits here are asked for."""
    return {
        "task": blobs,
        "recipe": small_recipe,
        "sizes": (16, 32),
        "seeds": 3,
        "perturbations": ["adam"],
        "checks": "trend",
        "ladder": "none",
        "error_margin": 9,
        "cache_dir": None,
    }


def request(key: str, options: dict[str, Any], *, checks: int | None = None) -> Request:
    """Return a request for the first checks of an audit, or all of them."""
    settings = resolve_settings(options)
    return Request(key, settings, lambda: (falling, None), tuple(settings.checks[:checks]))


@pytest.mark.parametrize("seeds", [3, "auto-5"])
def test_audits_are_trained_together(options: dict[str, Any], seeds: Any) -> None:
    """At the first question about any of them, and never again."""
    train = Trainings()
    engine = Engine(train)
    asked = [request(key, {**options, "seeds": seeds}) for key in ("one", "two", "three")]
    for each in asked:
        engine.add(each)
    assert train.calls == [] and engine.trains
    for each in reversed(asked):
        assert {engine.finding(each.key, check).error for check in each.checks} == {None}
    assert train.calls == [3]


@pytest.mark.parametrize("seeds", [3, "auto-5"])
def test_one_that_cannot_be_trained_takes_no_other_along(
    options: dict[str, Any], seeds: Any
) -> None:
    """Each is then trained for itself; its error is the same for each of its checks."""

    def missing() -> Any:
        raise OSError("no such data")

    train, options = Trainings(), {**options, "seeds": seeds}
    engine = Engine(train)
    good, bad = request("good", options), request("bad", {**options, "task": Task("lost", missing)})
    engine.add(good)
    engine.add(bad)
    for _ in range(2):
        assert engine.finding("good", good.checks[0]).get()[0].check == good.checks[0]
    raised = []
    for check in bad.checks:
        with pytest.raises(TaskError, match="no such data") as caught:
            engine.finding("bad", check)
        raised.append(caught.value)
    assert len(set(map(id, raised))) == 1
    assert train.calls == [2, 1, 1]


@pytest.mark.parametrize(("seeds", "calls"), [(3, [2]), ("auto-5", [1, 1])])
def test_processes_that_share_checks_look_one_by_one(
    options: dict[str, Any], seeds: Any, calls: list[int]
) -> None:
    """Each would else ask all measures about all networks; what is trained at once still is."""
    train = Trainings()
    engine = Engine(train, shares_checks=True)
    asked = [request(key, {**options, "seeds": seeds}) for key in ("one", "two")]
    for each in asked:
        engine.add(each)
    for each in asked:
        engine.finding(each.key, each.checks[0]).get()
    assert train.calls == calls


def test_requests_of_one_key_are_one_audit(options: dict[str, Any]) -> None:
    """Only what they ask for is trained; what is asked for late is trained late."""
    engine = Engine()
    first = request("mine", options, checks=1)
    for each in (first, first):
        engine.add(each)
    assert list(engine.family("mine").recipes) == [BASELINE]
    needs = Needs(frozenset({BASELINE, "adam"}))
    engine.add(Request("mine", first.settings, first.load, needs=needs))
    assert list(engine.family("mine").recipes) == [BASELINE, "adam"]
    assert engine.finding("mine", first.checks[0]).get()[0].check == first.checks[0]


def test_an_error_is_raised_with_its_cause(options: dict[str, Any]) -> None:
    """However often it is raised, and whether it is told of the other seeds or not."""

    def raising(network: TrainedNetwork) -> float:
        if network.seed == 1 and network.recipe_name == "adam":
            raise ZeroDivisionError("singular")
        return 1 / network.n

    for seeds in (5, "auto-5"):
        settings = resolve_settings({**options, "seeds": seeds})
        engine = Engine()
        engine.add(Request("mine", settings, lambda: (raising, None), tuple(settings.checks)))
        finding = engine.finding("mine", settings.checks[1])
        depths = []
        for _ in range(3):
            with pytest.raises(FragilityError, match="Over the 4 other seeds") as caught:
                finding.get()
            assert isinstance(caught.value.__cause__, ZeroDivisionError)
            depths.append(len(caught.traceback))
        assert len(set(depths)) == 1
