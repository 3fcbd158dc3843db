"""The catalogue of small changes, and perturbations of one's own."""

from __future__ import annotations

import re

import pytest

from pytest_fragility.errors import SettingsError
from pytest_fragility.perturbations import (
    CATALOGUE,
    Perturbation,
    get_perturbation,
    resolve_perturbations,
)
from pytest_fragility.recipes import (
    MLP,
    SGD,
    Adam,
    AdamW,
    Recipe,
    RMSprop,
    cross_entropy_below,
    fixed_steps,
    full_train_accuracy,
)

BASELINE = Recipe()
DOUBLE_BATCH = Perturbation("double", lambda recipe: recipe.replace(batch_size=32), "batch 32")

EXPECTED: dict[str, Recipe] = {
    "lr-x3": Recipe(optimizer=SGD(lr=0.05 * 3)),
    "lr-x10": Recipe(optimizer=SGD(lr=0.5)),
    "lr-div3": Recipe(optimizer=SGD(lr=0.05 / 3)),
    "lr-div10": Recipe(optimizer=SGD(lr=0.005)),
    "sgd": Recipe(),
    "momentum": Recipe(optimizer=SGD(lr=0.005, momentum=0.9)),
    "nesterov": Recipe(optimizer=SGD(lr=0.005, momentum=0.9, nesterov=True)),
    "adam": Recipe(optimizer=Adam(lr=0.001)),
    "adam-x10": Recipe(optimizer=Adam(lr=0.01)),
    "adamw": Recipe(optimizer=AdamW(lr=0.001, weight_decay=0.01)),
    "rmsprop": Recipe(optimizer=RMSprop(lr=0.001)),
    "batch-x4": Recipe(batch_size=64),
    "batch-div4": Recipe(batch_size=4),
    "weight-decay": Recipe(optimizer=SGD(weight_decay=5e-4)),
    "init-x2": Recipe(initialization_scale=2.0),
    "init-div2": Recipe(initialization_scale=0.5),
    "stop-accuracy": Recipe(stopping=full_train_accuracy()),
    "stop-later": Recipe(stopping=cross_entropy_below(0.05)),
}


def flatten(recipe: Recipe) -> dict[str, object]:
    """Return a recipe's values in one dict."""
    values: dict[str, object] = {}
    for name, value in recipe.to_dict().items():
        nested = value if isinstance(value, dict) else {"": value}
        values |= {f"{name}.{key}": part for key, part in nested.items()}
    return values


def test_the_catalogue_is_tested_whole() -> None:
    """Every entry has its expectation here, and stands under its own name."""
    assert set(CATALOGUE) == set(EXPECTED)
    assert all(perturbation.name == name for name, perturbation in CATALOGUE.items())
    assert all(perturbation.summary for perturbation in CATALOGUE.values())


@pytest.mark.parametrize("name", EXPECTED)
def test_catalogue_changes_the_default_recipe_as_described(name: str) -> None:
    """Each entry does its change and no other; all but ``sgd`` change the default."""
    changed = get_perturbation(name)(BASELINE)
    found, expected = flatten(changed), flatten(EXPECTED[name])
    assert set(found) == set(expected)
    for key, value in expected.items():
        assert found[key] == (pytest.approx(value) if isinstance(value, float) else value), key
    assert (changed == BASELINE) is (name == "sgd")
    assert re.fullmatch(r"[a-z0-9][a-z0-9.+_-]*", name)


def test_changes_start_from_the_recipe_they_are_given() -> None:
    """Factors are factors on the recipe's own values, and nothing else is touched."""
    recipe = Recipe(
        architecture=MLP(hidden=(8,)),
        optimizer=Adam(lr=0.02, weight_decay=0.3),
        batch_size=2,
        initialization_scale=3.0,
        stopping=cross_entropy_below(0.4, step_limit=77),
    )
    assert get_perturbation("lr-x10")(recipe) == recipe.replace(
        optimizer=Adam(lr=0.2, weight_decay=0.3)
    )
    assert get_perturbation("batch-x4")(recipe) == recipe.replace(batch_size=8)
    assert get_perturbation("batch-div4")(recipe) == recipe.replace(batch_size=1)
    assert get_perturbation("init-x2")(recipe) == recipe.replace(initialization_scale=6.0)
    later = recipe.replace(stopping=cross_entropy_below(0.2, step_limit=77))
    assert get_perturbation("stop-later")(recipe) == later
    accurate = recipe.replace(stopping=full_train_accuracy(step_limit=77))
    assert get_perturbation("stop-accuracy")(recipe) == accurate


@pytest.mark.parametrize("name", ["momentum", "nesterov"])
def test_momentum_keeps_the_effective_rate(name: str) -> None:
    """With lr / (1 - momentum) as it was, momentum is a small change for any plain SGD."""
    optimizer = get_perturbation(name)(Recipe(optimizer=SGD(lr=0.3))).optimizer
    assert isinstance(optimizer, SGD)
    assert optimizer.lr / (1 - optimizer.momentum) == pytest.approx(0.3)
    assert optimizer.nesterov is (name == "nesterov")


def test_compositions_do_one_change_after_the_other() -> None:
    """``a+b`` is b of a: the order matters."""
    both = get_perturbation("lr-x3+adam")
    assert both.name == "lr-x3+adam"
    assert both(BASELINE).optimizer == Adam()
    assert get_perturbation("adam+lr-x3")(BASELINE).optimizer == Adam(lr=0.001 * 3)
    three = get_perturbation("adam+batch-x4+init-x2")(BASELINE)
    assert three == Recipe(optimizer=Adam(), batch_size=64, initialization_scale=2.0)
    own = DOUBLE_BATCH + get_perturbation("adam")
    assert (own.name, own.summary) == ("double+adam", "batch 32, then Adam at 0.001")
    assert own(BASELINE) == Recipe(optimizer=Adam(), batch_size=32)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("adm", "unknown perturbation 'adm': did you mean 'adam'?"),
        ("lr-x30", "unknown perturbation 'lr-x30': did you mean 'lr-x3'?"),
        ("adam+momentun", "unknown perturbation 'momentun': did you mean 'momentum'?"),
        ("quux", "unknown perturbation 'quux': The catalogue has lr-x3, "),
        ("adam+", "unknown perturbation ''"),
    ],
)
def test_unknown_names_suggest_the_nearest(name: str, hint: str) -> None:
    """The error names the nearest entry where one is near, and always the catalogue."""
    with pytest.raises(SettingsError, match=re.escape(hint)) as caught:
        get_perturbation(name)
    assert ", ".join(CATALOGUE) in str(caught.value)


@pytest.mark.parametrize("name", ["", "Adam", "a b", "a/b", "a[b]", "-a", "a\n", "baseline"])
def test_names_must_fit_into_test_ids(name: str) -> None:
    """Upper case, blanks, brackets and the baseline's own name are refused."""
    with pytest.raises(SettingsError, match="because it becomes part of test ids") as caught:
        Perturbation(name, lambda recipe: recipe)
    assert repr(name) in str(caught.value)


def test_a_change_must_return_a_recipe() -> None:
    """The error names the perturbation and what it returned."""
    forgetful = Perturbation("forgetful", lambda recipe: None)  # type: ignore[arg-type, return-value]
    with pytest.raises(SettingsError, match="'forgetful' returned NoneType, expected a Recipe"):
        forgetful(BASELINE)


def test_choices_are_resolved_in_order() -> None:
    """Names and perturbations of one's own are kept in the order given."""
    resolved = resolve_perturbations(["rmsprop", DOUBLE_BATCH, "adam+lr-x3"], BASELINE)
    assert list(resolved) == ["rmsprop", "double", "adam+lr-x3"]
    assert resolved["double"] is DOUBLE_BATCH
    assert resolved["adam+lr-x3"](BASELINE).optimizer == Adam(lr=0.001 * 3)
    assert resolve_perturbations([], BASELINE) == {}


@pytest.mark.parametrize(
    ("name", "baseline"),
    [
        ("sgd", Recipe()),
        ("adam", Recipe(optimizer=Adam())),
        ("stop-later", Recipe(stopping=fixed_steps(9))),
        ("batch-div4", Recipe(batch_size=1)),
    ],
)
def test_a_change_that_changes_nothing_is_refused(name: str, baseline: Recipe) -> None:
    """The error names the perturbation and shows the baseline."""
    with pytest.raises(SettingsError, match=f"'{name}' leaves the baseline recipe as it is"):
        resolve_perturbations([name], baseline)


def test_duplicates_are_refused() -> None:
    """One name twice, from the catalogue or not."""
    with pytest.raises(SettingsError, match="perturbation 'adam' is given twice"):
        resolve_perturbations(["adam", "rmsprop", "adam"], BASELINE)
    own = Perturbation("adam", DOUBLE_BATCH.change)
    with pytest.raises(SettingsError, match="perturbation 'adam' is given twice"):
        resolve_perturbations([own, "adam"], BASELINE)


def test_a_choice_must_be_a_name_or_a_perturbation() -> None:
    """A bare function is refused, by name."""
    with pytest.raises(SettingsError, match="perturbation 3: expected a name"):
        resolve_perturbations([3], BASELINE)  # type: ignore[list-item]
