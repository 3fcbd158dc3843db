"""Audits that train seeds as they are needed; their error rates are in test_error_rates."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pytest_fragility import AuditResult, audit
from pytest_fragility.auditing.staged_seeds import StagedAudit
from pytest_fragility.checks.check import Check
from pytest_fragility.checks.registry import judge
from pytest_fragility.checks.verdicts import BROKEN, INCONCLUSIVE, KEPT
from pytest_fragility.curves import LearningCurve, LearningCurves
from pytest_fragility.curves.joining import join_seeds
from pytest_fragility.errors import MeasureError, SettingsError
from pytest_fragility.measures import parameter_norm, path_norm
from pytest_fragility.networks.runs import Run
from pytest_fragility.recipes import Recipe
from pytest_fragility.settings import LOOKS, resolve_settings
from pytest_fragility.tasks import Task
from tests.simulated_audits import PERTURBATION, STAGED, Scatter, Truth, simulate, staged_rates

WIDE = 50.0


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that all audits here share."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def options(blobs: Task, small_recipe: Recipe, cache: Path) -> dict[str, Any]:
    """What all audits here are asked for."""
    return {
        "task": blobs,
        "recipe": small_recipe,
        "sizes": (16, 32, 64),
        "perturbations": ["adam", "momentum"],
        "checks": ["trend", "exponent", "spread"],
        "ladder": "none",
        "device": "cpu",
        "error_margin": WIDE,
        "cache_dir": cache,
    }


def seeds_used(result: AuditResult) -> dict[str, int]:
    """Return how many seeds each check took."""
    return {record["check"]: len(record["seeds"]) for record in result.records}


# settings


@pytest.mark.parametrize(
    ("value", "looks"),
    [
        ("auto", (5, 8, 13, 21)),
        ("auto-21", (5, 8, 13, 21)),
        ("auto-5", (5,)),
        ("auto-10", (5, 8, 10)),
        ("auto-13", (5, 8, 13)),
        ("auto-40", (5, 8, 13, 21, 34, 40)),
    ],
)
def test_looks_grow_up_to_the_largest_number(value: str, looks: tuple[int, ...]) -> None:
    """Each about as many more as all before; fixtures take the profile's number."""
    settings = resolve_settings({"seeds": value})
    assert settings.looks == looks
    assert settings.seeds == resolve_settings({}).seeds


@pytest.mark.parametrize("value", ["auto-4", "auto-", "auto 5", "five", "Auto", "auto-x", ""])
def test_other_words_are_no_number_of_seeds(value: str) -> None:
    """The message says what is."""
    with pytest.raises(SettingsError, match=r"auto-N with N the largest number of seeds, 5 or"):
        resolve_settings({"seeds": value})


def test_a_number_has_no_looks() -> None:
    """Nor has a list."""
    assert resolve_settings({"seeds": 5}).looks == ()
    assert resolve_settings({"seeds": [4, 7]}).looks == ()
    assert LOOKS[0] >= 2


# verdicts


def test_verdicts_are_those_of_as_many_seeds_at_the_looks_share_of_alpha(
    options: dict[str, Any],
) -> None:
    """Against an audit of that fixed number of seeds: status, numbers and admissibility."""
    staged = audit(path_norm, seeds="auto", alpha=0.1, **options)
    used = seeds_used(staged)
    # so much for nothing to compare
    assert len(set(used.values())) > 1
    for seeds in sorted(set(used.values())):
        fixed = audit(path_norm, seeds=seeds, alpha=0.1 / len(LOOKS), **options)
        expected = {record["check"]: record for record in fixed.records}
        for record in staged.records:
            if used[record["check"]] != seeds or record["kind"] == "perturbations-admissible":
                continue
            for part in ("verdict", "evidence", "admissibility", "seeds", "alpha", "own_noise"):
                assert record[part] == expected[record["check"]][part], record["check"]


def test_checks_stop_as_soon_as_they_are_decided(
    options: dict[str, Any], trained: list[Run], tmp_path: Path
) -> None:
    """A recipe is trained on while one of its checks is open, and not longer."""
    options["cache_dir"] = tmp_path
    result = audit(path_norm, seeds="auto", alpha=0.1, **options)
    used = seeds_used(result)
    of_recipe = {
        name: max(used[f"{kind}-{name}"] for kind in ("trend", "exponent", "spread"))
        for name in ("adam", "momentum")
    }
    of_recipe["baseline"] = max(used.values())
    counts = Counter(run.recipe for run in trained)
    recipes = resolve_settings(options).recipes()
    assert {name: counts[recipes[name]] for name in of_recipe} == {
        name: 3 * seeds for name, seeds in of_recipe.items()
    }
    assert len(trained) == len({(run.recipe, run.n, run.seed) for run in trained})


def test_decided_checks_say_so_and_open_ones_how_many_seeds_they_need(
    options: dict[str, Any],
) -> None:
    """At the last look, or where more than 200 would be needed."""
    result = audit(path_norm, seeds="auto-8", alpha=0.1, **options)
    for record in result.records:
        seeds = len(record["seeds"])
        assert record["looks"] == [5, 8]
        if record["verdict"] == INCONCLUSIVE and record["kind"] in ("exponent", "spread"):
            assert seeds == 8
            assert record["seeds_needed"] is None or record["seeds_needed"] > 8


def test_hopeless_checks_are_given_up() -> None:
    """At the tolerance itself no number of seeds decides: half of the looks are saved."""
    truth = Truth(slope_change=0.1)
    found = staged_rates("exponent", truth, Scatter(deviation=0.01), audits=40)
    assert found["seeds"] < 18
    assert found["acquitted"] + found["convicted"] < 0.2


def without_seeds_from(end: int, curves: LearningCurves) -> LearningCurves:
    """Return the curves over the first seeds alone."""

    def cut(curve: LearningCurve) -> LearningCurve:
        return replace(curve, values=curve.values[:, :end])

    return replace(
        curves,
        seeds=curves.seeds[:end],
        measure={name: cut(curve) for name, curve in curves.measure.items()},
        error={name: cut(curve) for name, curve in curves.error.items()},
    )


def test_a_far_change_is_decided_at_the_first_look() -> None:
    """Five seeds at a quarter of alpha decide what three would not."""
    curves = next(simulate(Truth(slope_change=0.5), Scatter(), audits=1, seeds=5, alpha=0.0125))
    check = Check("exponent", PERTURBATION)
    assert judge(check, without_seeds_from(3, curves), STAGED.tolerances).status == INCONCLUSIVE
    audit_in_looks = StagedAudit(path_norm, "ruler", STAGED, [check])
    assert audit_in_looks.is_open
    audit_in_looks.judge_with(curves)
    assert not audit_in_looks.is_open
    verdict, judged = audit_in_looks.finding(check).get()
    assert (verdict.status, judged.seeds) == (BROKEN, (0, 1, 2, 3, 4))


def test_networks_are_asked_twice_once(options: dict[str, Any]) -> None:
    """Whether a measure draws random numbers is found on the first look's seeds alone."""
    asked: Counter[tuple[str, int, int]] = Counter()

    def counted(network: Any) -> float:
        asked[network.recipe_name, network.n, network.seed] += 1
        return float(path_norm(network))

    result = audit(counted, seeds="auto", alpha=0.1, **options)
    assert max(seeds_used(result).values()) > 5
    twice = {place for place, times in asked.items() if times > 1}
    assert twice == {("baseline", 16, seed) for seed in range(5)}
    assert max(asked.values()) == 2


def test_a_failing_measure_is_raised(options: dict[str, Any]) -> None:
    """With its run, after one look."""

    def odd(network: Any) -> float:
        return -1.0

    with pytest.raises(MeasureError, match="no logarithm"):
        audit(odd, seeds="auto", **options)


def test_a_result_of_looks_prints_seeds_behind_verdicts(options: dict[str, Any]) -> None:
    """Within 80 columns, rows in the order of the settings."""
    result = audit(parameter_norm, seeds="auto", alpha=0.1, **options)
    text = str(result)
    assert "97.5 % intervals at each of 4 looks, which share 10 %" in " ".join(text.split())
    assert "of looks at 5, 8, 13 and 21; open: inconclusive" in " ".join(text.split())
    rows = [line.split() for line in text.splitlines()]
    names = [row[0] for row in rows if row and row[0] in ("baseline", "adam", "momentum")]
    assert names == ["baseline", "adam", "momentum"]
    used = seeds_used(result)
    status = {KEPT: "kept", BROKEN: "BROKEN", INCONCLUSIVE: "open"}
    (row,) = [" ".join(row) for row in rows if row and row[0] == "momentum"]
    verdicts = [
        f"{status[result[f'{kind}-momentum'].status]} {used[f'{kind}-momentum']}"
        for kind in ("trend", "exponent", "spread")
    ]
    assert row.endswith(" ".join(verdicts))
    assert max(map(len, text.splitlines())) <= 80


# joining


def test_groups_of_seeds_join_to_what_all_give_together(
    blobs: Task, small_recipe: Recipe, options: dict[str, Any]
) -> None:
    """Values, mistaken test samples, slopes and intervals, bit by bit; the ladder too."""
    options |= {"ladder": [blobs, "blobs-2"], "checks": ["trend", "complexity"]}
    options["ladder"] = [blobs, Task("blobs-2", lambda: blobs.data)]
    parts = [audit(path_norm, seeds=seeds, **options).curves for seeds in ((0, 1), (2, 3, 4))]
    whole = audit(path_norm, seeds=5, **options).curves
    joined = join_seeds(parts)
    assert joined.seeds == whole.seeds
    for name in whole.error:
        for found, expected in (
            (joined.error[name], whole.error[name]),
            (joined.measure[name], whole.measure[name]),
        ):
            np.testing.assert_array_equal(found.values, expected.values)
            assert (found.slope, found.level) == (expected.slope, expected.level)
    assert joined.ladder is not None
    assert whole.ladder is not None
    for name in whole.ladder.error:
        assert joined.ladder.error[name].slope == whole.ladder.error[name].slope
        assert joined.ladder.measure[name].level == whole.ladder.measure[name].level


def test_one_group_is_itself(options: dict[str, Any]) -> None:
    """Nothing is copied."""
    curves = audit(path_norm, seeds=3, **options).curves
    assert join_seeds([curves]) is curves


def test_recipes_that_a_later_group_lacks_are_left_out(options: dict[str, Any]) -> None:
    """They were decided before; what kept a run from its target in any group is kept."""
    first = audit(path_norm, seeds=3, **options).curves
    error = {name: curve for name, curve in first.error.items() if name != "adam"}
    second = replace(first, error=error, seeds=(3, 4, 5), unfinished={"momentum": "diverged"})
    recipes = {name: first.recipes[name] for name in error}
    joined = join_seeds([first, replace(second, recipes=recipes)])
    assert list(joined.error) == ["baseline", "momentum"]
    assert joined.unfinished == {"momentum": "diverged"}
    assert list(joined.recipes) == ["baseline", "adam", "momentum"]
