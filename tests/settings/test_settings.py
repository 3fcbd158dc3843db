"""Where an audit's settings come from, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pytest_fragility.checks.kind import PAIRS
from pytest_fragility.checks.registry import ASKED_AS, any_rests_on
from pytest_fragility.checks.tolerances import Tolerances
from pytest_fragility.errors import SettingsError, TaskError
from pytest_fragility.perturbations import BASELINE, CATALOGUE, Perturbation, get_perturbation
from pytest_fragility.recipes import MLP, SGD, Adam, Recipe, fixed_steps, full_train_accuracy
from pytest_fragility.recipes.equivalences import EQUIVALENCES, SYMMETRY_NAMES
from pytest_fragility.settings import DEFAULTS, PROFILES, require_known_options, resolve_settings
from pytest_fragility.tasks import Task
from tests.in_turn import in_turn

CHECKS_PER_PERTURBATION = 3
BESIDE = ["controls", "agreement"]
SAME_FUNCTION = [f"symmetry-{name}" for name in SYMMETRY_NAMES] + [
    f"equivalence-{name}" for name in EQUIVALENCES
]


def refusal(**options: Any) -> str:
    """Return the text of the error that these options cause."""
    with pytest.raises(SettingsError) as error:
        resolve_settings(options)
    return str(error.value)


def test_the_defaults_are_those_of_the_readme() -> None:
    """The table of settings says what an audit does when nothing is asked for."""
    found = resolve_settings()
    assert (found.task.name, found.profile, found.scale) == (
        "digits+label-noise-0.2",
        "standard",
        "log",
    )
    assert (found.alpha, found.device, found.cache_dir) == (0.05, "auto", Path(".fragility_cache"))
    assert found.tolerances == Tolerances(
        exponent=0.1, spread=0.1, margin=0.1, sensitivity=0.25, invariance=0.02, trend="error"
    )
    assert found.kinds == (
        "trend",
        "exponent",
        "spread",
        "stopping",
        "complexity",
        "symmetry",
        "equivalence",
    )
    assert list(found.checkpoints) == ["stop-accuracy", "stop-loss-0.01", "past-x2", "past-x4"]
    assert found.budget == 5_000
    assert found.ladder is not None
    assert [task.name for task in found.ladder.tasks] == [
        "digits",
        "digits+label-noise-0.2",
        "digits+label-noise-0.5",
    ]
    assert found.recipe == Recipe()


@in_turn(
    ("profile", "sizes", "seeds", "perturbations", "checkpoints"),
    [
        ("quick", (32, 64, 128, 256, 512), 4, 3, 2),
        ("standard", (32, 64, 128, 256, 512, 1024), 6, 9, 4),
        ("thorough", (32, 64, 128, 256, 512, 1024), 10, 14, 5),
    ],
)
def test_a_profile_gives_grid_and_perturbations(
    profile: str, sizes: tuple[int, ...], seeds: int, perturbations: int, checkpoints: int
) -> None:
    """And with them the number of checks."""
    found = resolve_settings({"profile": profile})
    assert (found.sizes, found.seeds) == (sizes, tuple(range(seeds)))
    assert len(found.perturbations) == perturbations
    assert list(found.perturbations) == list(PROFILES[profile].perturbations)
    assert len(found.checkpoints) == checkpoints
    assert list(found.checkpoints) == list(PROFILES[profile].checkpoints)
    perturbed = 1 + CHECKS_PER_PERTURBATION * perturbations + 1
    assert len(found.checks) == perturbed + checkpoints + 2 + len(SAME_FUNCTION) + len(BESIDE)


def test_a_profile_fills_only_what_is_not_given() -> None:
    """Sizes, seeds and perturbations that are given stay."""
    found = resolve_settings({"profile": "quick", "seeds": 7, "perturbations": ["adam+lr-x3"]})
    assert found.sizes == PROFILES["quick"].sizes
    assert len(found.seeds) == 7 and list(found.perturbations) == ["adam+lr-x3"]


def test_the_first_source_wins() -> None:
    """Each option by itself; None counts as not given."""
    found = resolve_settings(
        {"alpha": 0.1, "seeds": None, "scale": None},
        {"alpha": 0.2, "seeds": 3, "device": "cpu"},
        {"alpha": 0.3, "seeds": 4, "device": "cuda", "exponent_tolerance": 0.5},
    )
    assert (found.alpha, found.seeds, found.device) == (0.1, (0, 1, 2), "cpu")
    assert (found.tolerances.exponent, found.scale) == (0.5, "log")


@in_turn(
    ("option", "field"),
    [
        ("exponent_tolerance", "exponent"),
        ("spread_tolerance", "spread"),
        ("error_margin", "margin"),
        ("invariance_tolerance", "invariance"),
    ],
)
def test_zero_is_a_value(option: str, field: str) -> None:
    """It is not mistaken for nothing; and a double of NumPy is a float."""
    assert resolve_settings({"budget": 0}, {"budget": 7}).budget == 0
    assert getattr(resolve_settings({option: np.float64(0.25)}).tolerances, field) == 0.25
    found = resolve_settings({option: 0}, {option: 0.7})
    assert getattr(found.tolerances, field) == 0.0


def test_no_cache_is_a_value() -> None:
    """For the cache folder alone, None means to keep nothing."""
    assert resolve_settings({"cache_dir": None}, {"cache_dir": "elsewhere"}).cache_dir is None
    assert resolve_settings({}, {"cache_dir": "here"}).cache_dir == Path("here")
    assert resolve_settings({"cache_dir": Path("here")}).cache_dir == Path("here")


def test_no_perturbations_is_a_value() -> None:
    """An empty list asks for the baseline alone, with its checkpoints."""
    found = resolve_settings(
        {"perturbations": [], "checkpoints": "past-x2"}, {"perturbations": ["adam"]}
    )
    assert list(found.recipes()) == [BASELINE, "past-x2"]
    left = ["trend-baseline", "stopping-past-x2", "complexity-exponent", "complexity-level"]
    assert [check.id for check in found.checks] == left + SAME_FUNCTION + BESIDE


def test_sizes_are_sorted() -> None:
    """A learning curve ascends, in whatever order its sizes are given."""
    assert resolve_settings({"sizes": [64, 16, 32]}).sizes == (16, 32, 64)


def test_seeds_are_a_number_or_a_list() -> None:
    """A number counts from zero; a list is taken as it is."""
    assert resolve_settings({"seeds": 3}).seeds == (0, 1, 2)
    assert resolve_settings({"seeds": [8, 2, 5]}).seeds == (8, 2, 5)
    assert resolve_settings({"seeds": range(4, 6)}).seeds == (4, 5)


def test_one_name_need_not_be_a_list() -> None:
    """One perturbation or kind of check stands for itself."""
    own = Perturbation("slow", lambda recipe: recipe.replace(optimizer=SGD(lr=0.001)))
    assert list(resolve_settings({"perturbations": "adam"}).perturbations) == ["adam"]
    assert list(resolve_settings({"perturbations": own}).perturbations) == ["slow"]
    assert resolve_settings({"checks": "spread"}).kinds == ("spread",)


def test_names_and_objects_can_be_mixed(blobs: Task) -> None:
    """A task and perturbations of one's own beside those of the catalogue."""
    own = Perturbation("slow", lambda recipe: recipe.replace(optimizer=SGD(lr=0.001)))
    found = resolve_settings({"task": blobs, "perturbations": ["adam", own], "checks": "trend"})
    assert found.task is blobs
    assert found.recipes() == {
        BASELINE: Recipe(),
        "adam": Recipe(optimizer=Adam()),
        "slow": Recipe(optimizer=SGD(lr=0.001)),
    }
    assert list(found.recipes(["slow", BASELINE])) == [BASELINE, "slow"]


def test_a_plan_holds_every_run(blobs: Task) -> None:
    """Every recipe at every size with every seed, or only the recipes asked for."""
    found = resolve_settings(
        {
            "task": blobs,
            "sizes": [8, 16],
            "seeds": 3,
            "perturbations": ["adam", "sgd"],
            "checkpoints": ["past-x2"],
            "recipe": Recipe(optimizer=SGD(lr=0.2)),
        }
    )
    assert len(found.plan().runs) == 4 * 2 * 3
    assert {name for name, _, _ in found.plan(["adam"]).runs} == {"adam"}


def test_default_perturbations_that_change_nothing_are_left_out() -> None:
    """A baseline of one's own may already be what a profile would change it to."""
    found = resolve_settings({"recipe": Recipe(optimizer=Adam())})
    assert "adam" not in found.perturbations
    assert len(found.perturbations) == len(PROFILES["standard"].perturbations) - 1


def test_asked_for_perturbations_that_change_nothing_are_refused() -> None:
    """What is asked for by name is never left out silently."""
    text = refusal(recipe=Recipe(optimizer=Adam()), perturbations=["lr-x3", "adam"])
    assert "perturbation 'adam' leaves the baseline recipe as it is" in text
    steps = Recipe(stopping=fixed_steps(5))
    assert "'stop-later'" in refusal(recipe=steps, perturbations=["stop-later"])


@in_turn(
    ("option", "value"),
    [
        *(("profile", "fast"), ("profile", ["quick"]), ("scale", ""), ("trend", "up"), ("task", 3)),
        *(("recipe", SGD()), ("ladder", 3), ("cache_dir", 5), ("device", "cuda:x"), ("device", 0)),
        *(("sizes", []), ("sizes", 0), ("sizes", [32]), ("sizes", [True, 32]), ("sizes", ["32"])),
        *(("seeds", [1]), ("seeds", [1, 1]), ("seeds", []), ("seeds", 1), ("seeds", "5")),
        *(("exponent_tolerance", "0.1"), ("exponent_tolerance", True), ("error_margin", -1)),
        *(("spread_tolerance", [0.1]), ("least_sensitivity", "0.1"), ("least_sensitivity", -0.1)),
        *(("invariance_tolerance", -0.02), ("budget", -1), ("budget", 2.5), ("budget", True)),
        *(("checkpoints", 3), ("checkpoints", []), ("checks", 5), ("checks", ["spread", "spread"])),
        *(("alpha", 0), ("alpha", 1), ("alpha", -0.05), ("alpha", "0.05"), ("alpha", True)),
    ],
)
def test_a_bad_value_is_refused_by_name(option: str, value: Any) -> None:
    """The error shows the option, the value, and what was expected."""
    text = refusal(**{option: value})
    assert text.startswith(f"{option}={value!r}")
    assert "expected" in text or "at least two" in text or "given twice" in text


@in_turn(
    ("option", "value", "suggestion"),
    [
        ("profile", "standart", "standard"),
        ("scale", "liner", "linear"),
        ("trend", "increase", "increasing"),
        ("checks", ["exponents"], "exponent"),
        ("perturbations", ["adm"], "adam"),
        ("perturbations", ["lr-x3+momentun"], "momentum"),
        ("ladder", "label-nois", "label-noise"),
    ],
)
def test_a_typo_is_answered_with_the_nearest_name(option: str, value: Any, suggestion: str) -> None:
    """For everything that is chosen by name."""
    assert f"did you mean {suggestion!r}?" in refusal(**{option: value})


@in_turn(
    ("option", "suggestion"),
    [("exponent_tolerence", "exponent_tolerance"), ("size", "sizes"), ("seed", "seeds")],
)
def test_an_unknown_option_is_answered_with_the_nearest(option: str, suggestion: str) -> None:
    """In any of the sources."""
    given: list[dict[str, int]] = [{option: 1}, {}]
    for layers in (given, given[::-1]):
        with pytest.raises(SettingsError) as error:
            resolve_settings(*layers)
        text = str(error.value)
        assert f"unknown argument {option!r} (did you mean {suggestion!r}?)" in text
        assert all(name in text for name in DEFAULTS)


def test_callers_may_know_further_options() -> None:
    """They are known, suggested and listed as the others are."""
    require_known_options({"xfail": {}, "sizes": 1}, also=["xfail"])
    with pytest.raises(SettingsError, match=r"'xfial' \(did you mean 'xfail'\?\)"):
        require_known_options({"xfial": {}}, also=["xfail"])


def test_perturbations_are_given_once() -> None:
    """Twice the same name would be one test with two ids."""
    assert "perturbation 'adam' is given twice" in refusal(perturbations=["adam", "adam"])


def test_an_unknown_perturbation_is_answered_with_the_catalogue() -> None:
    """All of it, by name or by what names with a number begin with."""
    text = refusal(perturbations=["warm-up"])
    assert "unknown perturbation 'warm-up': did you mean 'warmup-" in text
    assert all(re.sub(r"[\d.]+$", "<number>", name) in text or name in text for name in CATALOGUE)


def test_a_function_is_a_perturbation() -> None:
    """Given alone or in a list; its name is its own."""

    def twice(recipe: Recipe) -> Recipe:
        return recipe.replace(batch_size=32)

    for given in (twice, [twice]):
        found = resolve_settings({"perturbations": given, "checks": "trend"})
        assert list(found.perturbations) == ["twice"]
        assert found.recipes()["twice"] == Recipe(batch_size=32)


def test_checkpoints_are_those_asked_for() -> None:
    """By name, as objects, or one alone; each has a check and a recipe."""
    later = Perturbation("later", get_perturbation("past-x3").change)
    found = resolve_settings({"checkpoints": ["stop-accuracy", later], "perturbations": []})
    assert [check.id for check in found.checks if check.kind == "stopping"] == [
        "stopping-stop-accuracy",
        "stopping-later",
    ]
    assert found.recipes()["stop-accuracy"] == Recipe(stopping=full_train_accuracy())
    assert found.recipes()["later"].stopping.overtime == 3.0
    for alone in ("past-x2", get_perturbation("past-x2")):
        assert list(resolve_settings({"checkpoints": alone}).checkpoints) == ["past-x2"]


@in_turn("name", ["adam", "batch-x2", "past-x2+adam", "data-order"])
def test_a_checkpoint_changes_nothing_but_the_stop(name: str) -> None:
    """All are recorded in one training, which is another one otherwise."""
    text = refusal(checkpoints=["past-x2", name])
    assert f"checkpoint {name!r} changes more than where the training stops" in text
    assert list(resolve_settings({"checkpoints": ["past-x2+stop-later"]}).checkpoints)


def test_checkpoints_that_change_nothing_are_left_out_or_refused() -> None:
    """Left out by default, refused where they are asked for."""
    accurate = Recipe(stopping=full_train_accuracy())
    found = resolve_settings({"recipe": accurate})
    assert list(found.checkpoints) == ["stop-loss-0.01", "past-x2", "past-x4"]
    text = refusal(recipe=accurate, checkpoints=["stop-accuracy"])
    assert "'stop-accuracy' leaves the baseline recipe as it is" in text


def test_without_the_check_of_stopping_no_checkpoint_is_trained() -> None:
    """Not even one that is asked for."""
    found = resolve_settings({"checks": ["trend"], "checkpoints": ["past-x2"]})
    assert found.checkpoints == {} and "past-x2" not in found.recipes()


def test_only_checks_of_the_same_function_need_equivalents(blobs: Task) -> None:
    """Pairs of trainings are planned with the check of symmetry or equivalence, and only then."""
    for kind in ASKED_AS:
        found = resolve_settings(
            {"task": blobs, "checks": [kind], "recipe": Recipe(architecture=MLP(hidden=(8,)))}
        )
        assert found.plan().with_equivalents is any_rests_on([kind], PAIRS)
        assert not found.plan(with_equivalents=False).with_equivalents


def test_one_name_does_not_stand_for_two_recipes() -> None:
    """A perturbation and a checkpoint that are called the same, and are not."""
    one = Perturbation("mine", get_perturbation("adam").change)
    other = Perturbation("mine", get_perturbation("past-x2").change)
    assert "mine" in refusal(perturbations=[one], checkpoints=[other])


def test_an_unknown_task_is_refused() -> None:
    """The error names those that there are."""
    with pytest.raises(TaskError, match=r"unknown task 'cifar'.*digits"):
        resolve_settings({"task": "cifar"})


@in_turn("kind", ["exponent", "spread", "stopping", "complexity"])
def test_a_linear_scale_has_no_exponents(kind: str) -> None:
    """By default the trend is checked, and the same function; asking for more is refused."""
    assert resolve_settings({"scale": "linear"}).kinds == ("trend", "symmetry", "equivalence")
    for checks in (kind, ["trend", kind]):
        text = refusal(scale="linear", checks=checks)
        assert f"checks={checks!r}: {kind} needs scale='log'" in text
