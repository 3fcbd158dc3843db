"""What is asked of an audit, or of a strategy, is done or refused: nothing is left out unsaid."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pytest_fragility import MLP, Family, Recipe, audit
from pytest_fragility.auditing.growing_families import FamilySource
from pytest_fragility.errors import BudgetError, SettingsError, TableError
from pytest_fragility.families.train import TrainingBudget
from pytest_fragility.networks.trained_network import TrainedNetwork
from pytest_fragility.perturbations import get_perturbation
from pytest_fragility.settings import AuditSettings, require_use, resolve_settings
from pytest_fragility.strategies import (
    curves_under,
    learning_curves,
    perturbations,
    recipes,
    trained_networks,
)
from pytest_fragility.tasks import Task, TaskData
from tests.families.conftest import table_rows


def size_reader(network: TrainedNetwork) -> float:
    """Return a measure."""
    return 1 / network.n


def no_data() -> TaskData:
    """Fail where data are read: what is asked is looked at before."""
    raise AssertionError("data were read")


UNREAD = Task("unread", no_data)

# of an audit whose networks are trained: what is asked, and why it would be left out
OF_TRAINING: list[tuple[dict[str, Any], str]] = [
    ({"ladder": "teacher-depth", "checks": "trend"}, "ladder='teacher-depth' would .* complexity"),
    ({"checkpoints": ["past-x2"], "checks": ["trend"]}, r"checkpoints=\['past-x2'\] .* stopping"),
    ({"exponent_tolerance": 0.2, "checks": "symmetry"}, "exponent_tolerance=0.2 .* only symmetry"),
    ({"exponent_tolerance": 0.2, "checks": "spread"}, "exponent_tolerance=0.2 .* only spread"),
    ({"spread_tolerance": 0.2, "checks": ["trend", "exponent"]}, "spread_tolerance=0.2 .* spread"),
    ({"spread_tolerance": 0.2, "scale": "linear"}, "spread_tolerance=0.2 .* only trend, symmetry"),
    ({"least_sensitivity": 0.5, "ladder": "none"}, "least_sensitivity=0.5 .* checks complexity"),
    ({"invariance_tolerance": 1.0, "checks": "trend"}, "invariance_tolerance=1.0 .* symmetry, equ"),
    ({"budget": 10}, "budget=10 .* ask for them with locate=True"),
    ({"budget": 10, "locate": False}, "budget=10 .* ask for them with locate=True"),
]


def test_an_option_without_use_is_refused() -> None:
    """Before anything is read or trained."""
    for asked, message in OF_TRAINING:
        with pytest.raises(SettingsError, match=message):
            audit(size_reader, task=UNREAD, **asked)


@pytest.mark.parametrize(
    "asked",
    [
        {"ladder": "none", "checks": "trend"},
        {"trend": "decreasing", "error_margin": 9, "checks": "symmetry"},
        {"exponent_tolerance": 0.2, "checks": "stopping"},
        {"budget": 10, "locate": ["lr"]},
        {"budget": None, "spread_tolerance": None, "scale": "linear"},
    ],
)
def test_what_has_use_or_describes_the_measure_is_not(asked: dict[str, Any]) -> None:
    """Settings that audits share may say what a measure is like, and what a small change."""
    require_use(asked, resolve_settings(asked))


# of an audit of a table, which holds values
OF_A_TABLE: list[tuple[dict[str, Any], str]] = [
    ({"device": "cpu"}, "device='cpu' would change nothing: a table holds values"),
    ({"measure_timeout": 3}, "measure_timeout=3 would change nothing: a table holds values"),
    ({"cache_dir": "kept"}, "cache_dir='kept' would change nothing: nothing is trained"),
    ({"executor": ThreadPoolExecutor}, "executor= trains and measures"),
    ({"invariance_tolerance": 0.1}, "invariance_tolerance=0.1 .* symmetry, equivalence"),
    ({"least_sensitivity": 0.5}, "least_sensitivity=0.5 .* complexity"),
    ({"recipe": Recipe()}, "says how networks are trained"),
    ({"profile": "quick"}, "says how networks are trained"),
    ({"architecture": "mlp"}, "says how networks are trained"),
    ({"budget": 9}, "says how networks are trained"),
    ({"locate": True}, "says how networks are trained"),
    ({"seeds": "auto"}, "nothing is trained here"),
    ({"seeds": [0, 1, 1]}, r"seeds=\[0, 1, 1\]: a value is given twice"),
    ({"sizes": [32, 64, 64]}, r"sizes=\[32, 64, 64\]: a value is given twice"),
    ({"perturbations": ["adam", "adam"]}, r"perturbations=\['adam', 'adam'\]: a value is given tw"),
    ({"checks": ["symmetry"]}, "symmetry cannot be made"),
    ({"ladder": ["toy", "toy"]}, "a value is given twice"),
]


def test_an_option_without_use_to_a_table_is_refused() -> None:
    """What says how to train or measure, and what the table does not have."""
    for asked, message in OF_A_TABLE:
        with pytest.raises((SettingsError, TableError), match=message):
            audit("steady", table=table_rows(), **asked)


def test_what_chooses_from_a_table_is_honoured() -> None:
    """And defaults that are written out are no request."""
    chosen: dict[str, Any] = {
        "sizes": [32, 128],
        "seeds": [0, 2, 4],
        "task": "toy",
        "ladder": "none",
    }
    result = audit(
        "steady", table=table_rows(), device="auto", cache_dir=None, exponent_tolerance=9, **chosen
    )
    assert result.curves.measure["baseline"].sizes == (32, 128)
    assert result["exponent-adam"].status == "kept"


def test_what_a_configuration_file_says_is_for_all() -> None:
    """It need not be of use to each audit."""
    project: dict[str, Any] = {
        "device": "cuda:1",
        "budget": 3,
        "measure_timeout": 9,
        "profile": "quick",
    }
    own: dict[str, Any] = {"table": table_rows()}
    require_use(own, resolve_settings(own, project))
    own = {"checks": "trend", "ladder": "none"}
    require_use(own, resolve_settings(own, {**project, "ladder": "label-noise"}))


@pytest.mark.parametrize("option", ["family", "manifest", "table"])
def test_networks_are_not_drawn_of_what_exists(option: str) -> None:
    """It would be left out, and others trained in its place."""
    asked: dict[str, Any] = {option: table_rows()}
    with pytest.raises(SettingsError, match=f"{option}=.* would change nothing"):
        trained_networks(**asked)
    with pytest.raises(SettingsError, match=f"{option}=.* would change nothing"):
        learning_curves(size_reader, **asked)
    table = resolve_settings({"table": table_rows()})
    with pytest.raises(SettingsError, match=r"trained on demand here, and values from .* exists"):
        FamilySource().family_of(table)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"locate": True}, "locate=True would change nothing"),
        ({"spread_tolerance": 0.3}, "spread_tolerance=0.3 would change nothing"),
        ({"ladder": "teacher-depth"}, "ladder='teacher-depth' would change nothing"),
        ({"checkpoints": "past-x2"}, "checkpoints='past-x2' would change nothing"),
        ({"sizs": [1, 2]}, r"unknown argument 'sizs' \(did you mean 'sizes'\?\)"),
    ],
)
def test_strategies_refuse_what_is_about_checks(asked: dict[str, Any], message: str) -> None:
    """At once, and not when something is drawn."""
    with pytest.raises(SettingsError, match=message):
        trained_networks(**asked)
    with pytest.raises(SettingsError, match=message):
        learning_curves(size_reader, **asked)
    with pytest.raises(SettingsError, match=message):
        curves_under(size_reader, get_perturbation("adam"), **asked)


def test_changes_are_named_once() -> None:
    """Those that are given are drawn, and others would be left out."""
    changes = perturbations("lr")
    for strategy in (
        lambda: trained_networks(changes, perturbations=["adam"]),
        lambda: learning_curves(size_reader, changes, perturbations=["adam"]),
    ):
        with pytest.raises(SettingsError, match=r"perturbations=\['adam'\] would change nothing"):
            strategy()
    trained_networks(perturbations=["adam"], ladder="none", error_margin=9, checks="trend")


@pytest.mark.parametrize(
    ("axes", "baseline", "message"),
    [
        (("lr", "width"), Recipe(architecture=MLP(hidden=())), "no change along width changes"),
        (("lr", "lr"), None, "axis 'lr' is given twice"),
        ((), None, "no axis to draw from is named"),
    ],
)
def test_axes_that_are_named_are_drawn_from(
    axes: tuple[str, ...], baseline: Recipe | None, message: str
) -> None:
    """Of all axes by default, those are left out that change nothing; of named ones, none."""
    for strategy in (perturbations, recipes):
        with pytest.raises(SettingsError, match=message):
            strategy(axes, baseline=baseline, max_axes=1)
    perturbations(baseline=baseline)


def test_a_smaller_budget_counts_beside_the_first() -> None:
    """It is not lost where another one was there before, nor does it add to that one."""
    source = FamilySource()

    def budget_of(networks: int) -> TrainingBudget:
        settings: AuditSettings = resolve_settings({"budget": networks})
        found = source.family_of(settings)._budget
        assert found is not None
        return found

    first, small, large = budget_of(100), budget_of(10), budget_of(1000)
    assert large is first and budget_of(10) is small
    small.spend(8)
    assert first.spent == 8
    with pytest.raises(BudgetError, match="used 8 of its budget of 10"):
        small.spend(3)
    first.spend(91)
    with pytest.raises(BudgetError, match="used 99 of its budget of 100"):
        small.spend(2)
    assert (small.spent, first.spent) == (8, 99)


def test_a_recipe_that_a_family_has_not_is_not_selected(small_family: Family) -> None:
    """A loop over none of its networks would pass."""
    for ask in (
        lambda: small_family.select(recipe="adma"),
        lambda: small_family.with_recipes(["baseline", "adma"]),
    ):
        with pytest.raises(KeyError, match=re.escape("recipe 'adma': this family has baseline,")):
            ask()


def test_a_trained_family_is_audited_where_it_is(small_family: Family, tmp_path: Path) -> None:
    """Its networks have a device, and nothing of it is stored."""
    common: dict[str, Any] = {"family": small_family, "checks": "trend", "error_margin": 9}
    for asked, message in (
        ({"device": "cuda:7"}, "cuda:7"),
        ({"cache_dir": tmp_path}, "cache_dir=.* nothing is trained"),
        ({"executor": ThreadPoolExecutor}, "executor= trains and measures"),
    ):
        with pytest.raises(SettingsError, match=message):
            audit(size_reader, **common, **asked)
    assert audit(size_reader, **common, device="cpu").verdicts
