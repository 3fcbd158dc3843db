"""The catalogue of small changes, and perturbations of one's own."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pytest_fragility import recipes
from pytest_fragility.errors import SettingsError
from pytest_fragility.perturbations import (
    AXES,
    CATALOGUE,
    FIRST_AXES,
    Axis,
    Perturbation,
    along_axis,
    as_perturbation,
    changes_recipe,
    get_perturbation,
    register_perturbation,
    resolve_perturbations,
    smaller_changes,
)
from pytest_fragility.recipes import (
    INITIALIZATIONS,
    MLP,
    PRECISIONS,
    SGD,
    Adam,
    AdamW,
    Architecture,
    Optimizer,
    Recipe,
    ResNet,
    RMSprop,
    ScaleInvariantMLP,
    Schedule,
    StoppingRule,
    ViT,
    cosine,
    cross_entropy_below,
    exponential,
    fixed_steps,
    full_train_accuracy,
    step_decay,
)
from pytest_fragility.settings import resolve_settings
from tests.in_turn import in_turn
from tests.tables import odd, rows, sees

BASELINE = Recipe()
DOUBLE_BATCH = Perturbation("double", lambda recipe: recipe.replace(batch_size=32), "batch 32")

EXPECTED: dict[str, Recipe] = {
    **{f"lr-x{f}": Recipe(optimizer=SGD(lr=0.05 * f)) for f in (2, 3, 4, 8, 10, 16)},
    **{f"lr-div{f}": Recipe(optimizer=SGD(lr=0.05 / f)) for f in (2, 3, 4, 10)},
    **{f"batch-x{f}": Recipe(batch_size=16 * f) for f in (2, 4, 8)},
    **{f"batch-div{f}": Recipe(batch_size=16 // f) for f in (2, 4)},
    "sgd": Recipe(),
    "momentum-0.5": Recipe(optimizer=SGD(lr=0.025, momentum=0.5)),
    "momentum": Recipe(optimizer=SGD(lr=0.005, momentum=0.9)),
    "momentum-0.95": Recipe(optimizer=SGD(lr=0.0025, momentum=0.95)),
    "nesterov": Recipe(optimizer=SGD(lr=0.005, momentum=0.9, nesterov=True)),
    "adam": Recipe(optimizer=Adam(lr=0.001)),
    "adam-x3": Recipe(optimizer=Adam(lr=0.003)),
    "adam-x10": Recipe(optimizer=Adam(lr=0.01)),
    "adamw": Recipe(optimizer=AdamW(lr=0.001, weight_decay=0.01)),
    "rmsprop": Recipe(optimizer=RMSprop(lr=0.001)),
    "weight-decay": Recipe(optimizer=SGD(weight_decay=5e-4)),
    "decoupled-weight-decay": Recipe(optimizer=SGD(weight_decay=5e-4, decoupled=True)),
    "decoupled-weight-decay-0.002": Recipe(optimizer=SGD(weight_decay=2e-3, decoupled=True)),
    **{f"weight-decay-{w}": Recipe(optimizer=SGD(weight_decay=w)) for w in (0.0001, 0.002)},
    **{f"cosine-{n}": Recipe(schedule=cosine(n, factor=0.1)) for n in (2000, 4000)},
    **{f"step-decay-{n}": Recipe(schedule=step_decay(n, factor=0.5)) for n in (2000, 4000)},
    "growth-4000": Recipe(schedule=exponential(4000, factor=2.0)),
    **{f"warmup-{n}": Recipe(schedule=Schedule(warmup=n)) for n in (100, 400)},
    **{f"init-x{f}": Recipe(initialization_scale=float(f)) for f in (2, 4)},
    **{f"init-div{f}": Recipe(initialization_scale=1 / f) for f in (2, 4)},
    **{f"init-{name}": Recipe(initialization=name) for name in INITIALIZATIONS[1:]},
    "stop-accuracy": Recipe(stopping=full_train_accuracy()),
    "stop-later": Recipe(stopping=cross_entropy_below(0.05)),
    **{f"stop-loss-{x}": Recipe(stopping=cross_entropy_below(x)) for x in (0.01, 0.02, 0.2)},
    **{f"past-x{f}": Recipe(stopping=StoppingRule(overtime=float(f))) for f in (2, 4, 16)},
    **{f"label-smoothing-{x}": Recipe(label_smoothing=x) for x in (0.01, 0.02, 0.05)},
    **{f"clip-{x}": Recipe(gradient_clipping=float(x)) for x in (2, 1, 0.5)},
    "data-order": Recipe(sample_order=1),
    **{f"width-x{f}": Recipe(architecture=MLP(hidden=(64 * f, 64 * f))) for f in (2, 4)},
    "width-div2": Recipe(architecture=MLP(hidden=(32, 32))),
    "depth-plus-1": Recipe(architecture=MLP(hidden=(64, 64, 64))),
    "depth-minus-1": Recipe(architecture=MLP(hidden=(64,))),
}

# what each axis may touch of a recipe, whatever that is
TOUCHED: dict[str, set[str]] = {
    "lr": {"optimizer.lr"},
    "batch": {"batch_size."},
    "optimizer": {
        f"optimizer.{name}"
        for name in (
            *("kind", "lr", "momentum", "nesterov", "betas", "eps", "alpha"),
            *("weight_decay", "decoupled"),
        )
    },
    "weight-decay": {"optimizer.weight_decay", "optimizer.decoupled", "optimizer.kind"},
    "schedule": {"schedule.kind", "schedule.steps", "schedule.factor"},
    "warmup": {"schedule.warmup"},
    "init": {"initialization_scale."},
    "initialization": {"initialization."},
    "stopping": {"stopping.kind", "stopping.target", "stopping.overtime"},
    "past": {"stopping.overtime"},
    "label-smoothing": {"label_smoothing."},
    "clipping": {"gradient_clipping."},
    "data-order": {"sample_order."},
    "width": {"architecture.hidden"},
    "depth": {"architecture.hidden"},
}

# by doublings, from the first small step where the baseline has nothing; of momentum, by how many
# times more gradients are averaged over
SIZES: dict[str, float] = {
    "lr-x2": 1.0,
    "lr-div10": math.log2(10),
    "momentum": math.log2(10),
    "momentum-0.95": math.log2(20),
    "adam": 2.0,
    "adam-x10": 2 + math.log2(10),
    "weight-decay-0.0001": math.log2(1.2),
    "weight-decay": 1.0,
    "decoupled-weight-decay": 1.0,
    "cosine-4000": 1 + math.log2(1.5),
    "warmup-400": math.log2(5),
    "init-orthogonal": 1.0,
    "stop-later": 1.0,
    "stop-loss-0.01": math.log2(10),
    "past-x16": 4.0,
    "label-smoothing-0.02": 1.0,
    "clip-0.5": math.log2(3),
    "data-order": 1.0,
    "width-div2": 1.0,
    "depth-minus-1": 1.0,
}

# nothing of it is a default
UNUSUAL = Recipe(
    architecture=MLP(hidden=(10, 20, 40)),
    optimizer=Adam(lr=0.02, betas=(0.8, 0.99), eps=1e-6, weight_decay=0.3),
    schedule=cosine(500).with_warmup(50),
    batch_size=20,
    initialization="lecun-normal",
    initialization_scale=3.0,
    label_smoothing=0.2,
    gradient_clipping=7.0,
    sample_order=5,
    precision="float64",
    stopping=cross_entropy_below(0.4, step_limit=77).with_overtime(1.5),
)

every_name = in_turn("name", EXPECTED)
every_axis = in_turn("axis", AXES.values())


@pytest.fixture
def own_entries(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let a test register perturbations; the catalogue is as before at its end."""
    catalogue, axes = dict(CATALOGUE), dict(AXES)
    yield
    CATALOGUE.clear()
    CATALOGUE.update(catalogue)
    AXES.clear()
    AXES.update(axes)


def smaller_names(name: str) -> list[str]:
    """Return the names of the smaller changes in the same direction."""
    return [each.name for each in smaller_changes(get_perturbation(name))]


def evaluated(text: str) -> object:
    """Return what a repr stands for, with the package's own names."""
    names = {name: getattr(recipes, name) for name in dir(recipes) if name[0] != "_"}
    return eval(
        text, {"__builtins__": {}, "get_perturbation": get_perturbation, "AXES": AXES, **names}
    )


def flatten(recipe: Recipe) -> dict[str, object]:
    """Return a recipe's values in one dict."""
    values: dict[str, object] = {}
    for name, value in recipe.to_dict().items():
        nested = value if isinstance(value, dict) else {"": value}
        values |= {f"{name}.{key}": part for key, part in nested.items()}
    return values


def test_the_catalogue_is_tested_whole() -> None:
    """Every entry has its expectation here, and stands under its own name and on one axis."""
    assert set(CATALOGUE) == set(EXPECTED)
    on_axes = [each for axis in AXES.values() for each in axis.perturbations]
    assert sorted(each.name for each in on_axes) == sorted(EXPECTED)
    assert all(each is CATALOGUE[each.name] for each in on_axes)
    assert set(AXES) == set(TOUCHED)
    assert set(FIRST_AXES) <= set(AXES)
    assert all(perturbation.name == name for name, perturbation in CATALOGUE.items())
    assert all(perturbation.summary for perturbation in CATALOGUE.values())


@every_name
def test_catalogue_changes_the_default_recipe_as_described(name: str) -> None:
    """Each entry does its change and no other; all but ``sgd`` change the default."""
    changed = get_perturbation(name)(BASELINE)
    found, expected = flatten(changed), flatten(EXPECTED[name])
    assert set(found) == set(expected)
    for key, value in expected.items():
        assert found[key] == (pytest.approx(value) if isinstance(value, float) else value), key
    assert (changed == BASELINE) is (name == "sgd")
    assert changes_recipe(get_perturbation(name), BASELINE) is (name != "sgd")
    assert re.fullmatch(r"[a-z0-9][a-z0-9.+_-]*", name)


@every_name
def test_a_change_touches_its_axis_alone(name: str) -> None:
    """Of a recipe without a single default, only what the axis is about."""
    before, after = flatten(UNUSUAL), flatten(get_perturbation(name)(UNUSUAL))
    touched = {key for key in {*before, *after} if before.get(key) != after.get(key)}
    assert touched <= TOUCHED[get_perturbation(name).axis]
    assert touched or name == "init-lecun-normal"


@every_axis
def test_sizes_grow_along_every_direction(axis: Axis) -> None:
    """From small to large, all positive; the axis lists all its directions by size."""
    assert axis.directions and all(axis.directions)
    for direction in axis.directions:
        assert all(one.size < other.size for one, other in pairwise(direction))
    every = [each for direction in axis.directions for each in direction]
    assert all(each.size > 0 and each.axis == axis.name for each in every)
    assert sorted(every, key=lambda each: each.name) == sorted(
        axis.perturbations, key=lambda each: each.name
    )
    assert all(one.size <= other.size for one, other in pairwise(axis.perturbations))
    assert evaluated(repr(axis)) is axis


@in_turn("name", SIZES)
def test_sizes_count_doublings(name: str) -> None:
    """What is small is the same on every axis."""
    assert get_perturbation(name).size == pytest.approx(SIZES[name])


@every_name
def test_an_entry_is_code_that_makes_it(name: str) -> None:
    """Its repr can be pasted into a test."""
    assert repr(CATALOGUE[name]) == f"get_perturbation({name!r})"
    assert evaluated(repr(CATALOGUE[name])) is CATALOGUE[name]


@in_turn(
    "name", ["lr-x1.5", "momentum-0.8", "warmup-7", "adam+lr-x3", "lr-x1e-3+past-x1.1+init-div2"]
)
def test_a_made_up_name_is_code_that_makes_it(name: str) -> None:
    """Numbers and compositions too."""
    made = get_perturbation(name)
    again = evaluated(repr(made))
    assert isinstance(again, Perturbation)
    assert (again.name, again.size, again.axis) == (made.name, made.size, made.axis)
    assert again(BASELINE) == made(BASELINE) != BASELINE


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
    assert get_perturbation("batch-div2")(recipe) == recipe.replace(batch_size=1)
    assert get_perturbation("init-x2")(recipe) == recipe.replace(initialization_scale=6.0)
    later = recipe.replace(stopping=cross_entropy_below(0.2, step_limit=77))
    assert get_perturbation("stop-later")(recipe) == later
    accurate = recipe.replace(stopping=full_train_accuracy(step_limit=77))
    assert get_perturbation("stop-accuracy")(recipe) == accurate


def test_changes_keep_what_the_recipe_has_beside() -> None:
    """A warm-up stays, overtime multiplies, and layers change as they are."""
    assert get_perturbation("step-decay-4000")(UNUSUAL).schedule == step_decay(4000).with_warmup(50)
    assert get_perturbation("warmup-100")(UNUSUAL).schedule == cosine(500).with_warmup(100)
    assert get_perturbation("past-x4")(UNUSUAL).stopping.overtime == 6.0
    assert get_perturbation("width-x2")(UNUSUAL).architecture == MLP(hidden=(20, 40, 80))
    assert get_perturbation("depth-plus-2")(UNUSUAL).architecture == MLP(
        hidden=(10, 20, 40, 40, 40)
    )
    assert get_perturbation("depth-minus-1")(UNUSUAL).architecture == MLP(hidden=(10, 20))
    invariant = Recipe(architecture=ScaleInvariantMLP(hidden=(6, 6)))
    assert get_perturbation("width-div2")(invariant).architecture == ScaleInvariantMLP(
        hidden=(3, 3)
    )
    linear = Recipe(architecture=MLP(hidden=()))
    assert (
        get_perturbation("depth-plus-1")(linear) == get_perturbation("width-x2")(linear) == linear
    )


def test_decoupled_decay_of_adam_is_adamw() -> None:
    """With Adam's own hyperparameters; RMSprop has no such form."""
    decay = get_perturbation("decoupled-weight-decay")
    assert decay(UNUSUAL).optimizer == AdamW(
        lr=0.02, betas=(0.8, 0.99), eps=1e-6, weight_decay=5e-4
    )
    with pytest.raises(SettingsError, match="rmsprop has no such form; use SGD or Adam"):
        decay(Recipe(optimizer=RMSprop()))
    assert not changes_recipe(decay, Recipe(optimizer=RMSprop()))


@in_turn("name", ["momentum-0.5", "momentum", "nesterov"])
def test_momentum_keeps_the_effective_rate(name: str) -> None:
    """With lr / (1 - momentum) as it was, it is a small change for any SGD; all else stays."""
    plain = SGD(lr=0.15, weight_decay=0.01, decoupled=True)
    for own in (plain, dataclasses.replace(plain, lr=0.03, momentum=0.8)):
        optimizer = get_perturbation(name)(Recipe(optimizer=own)).optimizer
        assert isinstance(optimizer, SGD)
        assert optimizer.lr / (1 - optimizer.momentum) == pytest.approx(0.15)
        assert optimizer.nesterov is (name == "nesterov")
        assert (optimizer.weight_decay, optimizer.decoupled) == (0.01, True)


@in_turn("name", ["stop-accuracy", "stop-loss-0.02", "stop-later"])
def test_another_target_keeps_the_overtime(name: str) -> None:
    """Who trains on past a target does so past another one."""
    recipe = Recipe(stopping=StoppingRule(step_limit=300, overtime=4))
    stopping = get_perturbation(name)(recipe).stopping
    assert (stopping.overtime, stopping.step_limit) == (4, 300)
    assert stopping != recipe.stopping


# what is asked for, and on what, with the part that would be left out
SAME = "leaves the baseline recipe as it is"
DROPPED = [
    ("lr-x3+adam", Recipe(), "lr-x3 makes no difference"),
    ("sgd+adam", Recipe(), "sgd makes no difference"),
    ("adam+batch-x4+sgd", Recipe(), "adam makes no difference"),
    ("batch-x4+lr-x3+adam+init-x2", Recipe(), "lr-x3 makes no difference"),
    ("adam+stop-later", Recipe(stopping=fixed_steps(9)), "stop-later makes no difference"),
    ("stop-accuracy+stop-loss-0.01", Recipe(), "stop-accuracy makes no difference"),
    ("warmup-100+warmup-400", Recipe(), "warmup-100 makes no difference"),
    ("adam+adam", Recipe(), "adam makes no difference"),
    ("adam+width-x2", Recipe(architecture=MLP(hidden=())), "width-x2 makes no difference"),
    ("lr-x3+lr-div3", Recipe(optimizer=SGD(lr=1.0)), SAME),
    ("momentum-0.8", Recipe(optimizer=SGD(lr=0.01, momentum=0.8)), SAME),
    ("sgd", Recipe(), SAME),
    ("stop-later", Recipe(stopping=fixed_steps(9)), SAME),
    ("batch-x1.01", Recipe(batch_size=1), SAME),
    ("depth-minus-1", Recipe(architecture=MLP(hidden=(64,))), SAME),
    ("batch-div4", Recipe(batch_size=2), "batch size 2 x 0.25: expected a batch of at least 1"),
    ("width-div2", Recipe(architecture=MLP(hidden=(9, 1))), "hidden layer of width 1 x 0.5"),
    ("width-div100", Recipe(architecture=ViT()), "at least one value for each of the 4 heads"),
    ("depth-minus-2", Recipe(), "2 fewer hidden layers: mlp 64-64 has not so many"),
    ("depth-minus-3", Recipe(architecture=ResNet()), "3 fewer hidden layers: resnet-8"),
    ("lr-x1e999", Recipe(), "SGD.lr=inf: expected"),
    ("lr-div1e-320", Recipe(), "SGD.lr=inf: expected"),
]


@in_turn(("name", "baseline", "message"), DROPPED)
def test_no_part_of_a_change_is_left_out(name: str, baseline: Recipe, message: str) -> None:
    """Where a recipe cannot be changed by all that a name says, the error says by what not."""
    with pytest.raises(SettingsError, match=re.escape(message)):
        resolve_perturbations([name], baseline)
    assert not changes_recipe(get_perturbation(name), baseline)


@in_turn(
    ("name", "changed"),
    [
        ("adam+lr-x3", Recipe(optimizer=Adam(lr=0.001 * 3))),
        ("lr-x2+lr-x2", Recipe(optimizer=SGD(lr=0.2))),
        (
            "weight-decay+momentum-0.5",
            Recipe(optimizer=SGD(lr=0.025, momentum=0.5, weight_decay=5e-4)),
        ),
        ("past-x2+stop-accuracy", Recipe(stopping=full_train_accuracy().with_overtime(2))),
        ("warmup-100+step-decay-4000", Recipe(schedule=step_decay(4000).with_warmup(100))),
        ("batch-div4+batch-div4", Recipe(batch_size=1)),
    ],
)
def test_compositions_whose_parts_all_count_are_made(name: str, changed: Recipe) -> None:
    """Whatever the order in which they are named."""
    (made,) = resolve_perturbations([name], BASELINE).values()
    assert made(BASELINE) == changed


@in_turn(
    "choices", [["momentum", "momentum-0.9"], ["adam", "lr-x3", "adam-x1"], ["lr-x2", "lr-div0.5"]]
)
def test_one_change_under_two_names_is_refused(choices: list[str]) -> None:
    """It would be one change, counted twice."""
    with pytest.raises(SettingsError, match=f"'{choices[0]}' and '{choices[-1]}' change the base"):
        resolve_perturbations(choices, BASELINE)


@in_turn(
    ("name", "sizes", "message"),
    [
        ("batch-x4", [8, 16], "'batch-x4' leaves .* at sizes 8, 16, where a batch is the whole"),
        ("data-order", [16], "'data-order' leaves .* at sizes 16, where a batch is the whole"),
        ("adam+batch-x2", [8, 12], "'adam\\+batch-x2': batch-x2 makes no difference to it"),
    ],
)
def test_batches_beyond_all_training_sets_are_no_change(
    name: str, sizes: list[int], message: str
) -> None:
    """A batch that is larger than the training set is the whole of it; one size more decides."""
    with pytest.raises(SettingsError, match=message):
        resolve_perturbations([name], BASELINE, sizes)
    with pytest.raises(SettingsError, match=f"perturbation '{re.escape(name)}'"):
        resolve_settings({"perturbations": [name], "sizes": [7, 8]})
    assert name in resolve_perturbations([name], BASELINE, [*sizes, 64])
    assert (
        "batch-x4" not in resolve_settings({"sizes": (8, 16), "profile": "standard"}).perturbations
    )


def test_compositions_do_one_change_after_the_other() -> None:
    """``a+b`` is b of a: the order matters."""
    both = get_perturbation("lr-x3+adam")
    assert (both.name, both.axis) == ("lr-x3+adam", "lr+optimizer")
    assert both.size == pytest.approx(math.log2(3) + 2)
    assert both.single_changes == (CATALOGUE["lr-x3"], CATALOGUE["adam"])
    assert both(BASELINE).optimizer == Adam()
    assert get_perturbation("adam+lr-x3")(BASELINE).optimizer == Adam(lr=0.001 * 3)
    three = get_perturbation("adam+batch-x4+init-x2")(BASELINE)
    assert three == Recipe(optimizer=Adam(), batch_size=64, initialization_scale=2.0)
    single = [get_perturbation(name) for name in ("adam", "batch-x4", "init-x2")]
    left, right = (single[0] + single[1]) + single[2], single[0] + (single[1] + single[2])
    assert left.single_changes == right.single_changes == tuple(single)
    assert repr(left) == "get_perturbation('adam+batch-x4+init-x2')"
    assert repr(single[0] + DOUBLE_BATCH).startswith("Perturbation('adam+double', ")
    own = DOUBLE_BATCH + get_perturbation("adam")
    assert (own.name, own.summary) == ("double+adam", "batch 32, then Adam at 0.001")
    assert own(BASELINE) == Recipe(optimizer=Adam(), batch_size=32)


@in_turn(
    ("name", "changed"),
    [
        ("lr-x1.5", Recipe(optimizer=SGD(lr=0.075))),
        ("lr-x0.5", Recipe(optimizer=SGD(lr=0.025))),
        ("lr-x1e2", Recipe(optimizer=SGD(lr=5.0))),
        ("lr-x2.5e-1", Recipe(optimizer=SGD(lr=0.0125))),
        ("lr-div8", Recipe(optimizer=SGD(lr=0.00625))),
        ("batch-x1.5", Recipe(batch_size=24)),
        ("momentum-0.8", Recipe(optimizer=SGD(lr=0.01, momentum=0.8))),
        ("adam-x0.5", Recipe(optimizer=Adam(lr=0.0005))),
        (
            "decoupled-weight-decay-1e-3",
            Recipe(optimizer=SGD(weight_decay=0.001, decoupled=True)),
        ),
        ("growth-100", Recipe(schedule=exponential(100, factor=2.0))),
        ("label-smoothing-0.3", Recipe(label_smoothing=0.3)),
        ("data-order-3", Recipe(sample_order=3)),
        ("width-div21", Recipe(architecture=MLP(hidden=(3, 3)))),
        ("depth-plus-2", Recipe(architecture=MLP(hidden=(64, 64, 64, 64)))),
    ],
)
def test_names_are_made_up_from_numbers(name: str, changed: Recipe) -> None:
    """Whatever the number, in any form that a float has; nothing is put into the catalogue."""
    found, expected = flatten(get_perturbation(name)(BASELINE)), flatten(changed)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key] == (pytest.approx(value) if isinstance(value, float) else value), key
    assert get_perturbation(name).name == name
    assert get_perturbation(name).size > 0
    assert name not in CATALOGUE


@in_turn(
    "name",
    [
        *("lr-x", "lr-x0", "lr-x0.0", "lr-x-2", "lr-x+2", "lr-xnan", "lr-xinf", "lr-x1", "lr-x2x"),
        *("lr-x1_000", "lr-x.5", "lr-x2.", "lr-x 2", "lr-x2\n", "lr-x1e", "lr-xe5", "LR-X2"),
        *("momentum-1", "momentum-0", "warmup-1.5", "cosine-0.5", "warmup-1e999", "clip-0"),
        *("label-smoothing-1", "past-x0.5", "past-x1", "lr-x\N{ARABIC-INDIC DIGIT THREE}"),
    ],
)
def test_names_without_a_usable_number_are_refused(name: str) -> None:
    """No number, none that changes anything, none that can be counted, none in other scripts."""
    with pytest.raises(SettingsError) as caught:
        get_perturbation(name)
    assert repr(name.partition("+")[0]) in str(caught.value)


@given(factor=st.floats(1e-3, 1e3).filter(lambda factor: abs(math.log2(factor)) > 1e-9))
@example(factor=2.0)
def test_multiplying_and_dividing_are_opposites(factor: float) -> None:
    """The same size, and back where they started; every float has a name."""
    up, down = get_perturbation(f"lr-x{factor!r}"), get_perturbation(f"lr-div{factor!r}")
    assert up.size == down.size == pytest.approx(abs(math.log2(factor)))
    assert down(up(BASELINE)).optimizer.lr == pytest.approx(0.05)
    assert up(BASELINE).optimizer.lr == pytest.approx(0.05 * factor)


@in_turn(
    ("name", "hint"),
    [
        ("adm", "unknown perturbation 'adm': did you mean 'adam'?"),
        ("lr-x3o", "unknown perturbation 'lr-x3o': did you mean 'lr-x3'?"),
        ("adam+momentun", "unknown perturbation 'momentun': did you mean 'momentum'?"),
        ("quux", "unknown perturbation 'quux': The catalogue has sgd, momentum, "),
        ("adam+", "unknown perturbation ''"),
    ],
)
def test_unknown_names_suggest_the_nearest(name: str, hint: str) -> None:
    """The error names the nearest entry where one is near, and always what there is."""
    with pytest.raises(SettingsError, match=re.escape(hint)) as caught:
        get_perturbation(name)
    listed = str(caught.value).partition("The catalogue has ")[2].split(", ")
    # a name is listed, or the pattern that it has
    for known in CATALOGUE:
        assert known in listed or re.sub(r"[\d.]+$", "<number>", known) in listed
    assert len(set(listed)) == len(listed) < len(CATALOGUE)


def made(name: Any = "slow", change: Any = lambda recipe: recipe, **fields: Any) -> Any:
    """Return what makes a perturbation of one's own."""
    return lambda: Perturbation(name, change, **fields)


def chosen(*choices: Any) -> Callable[[], Any]:
    """Return what resolves some choices for the default recipe."""
    return lambda: resolve_perturbations(choices, BASELINE)


ID = "because it becomes part of test ids"
REFUSED = rows(
    *((name, made(name), f"name {name!r}: .*{ID}") for name in ("Adam", "a b", "-a", "baseline")),
    ("brackets", made("a[b]"), rf"name 'a\[b\]': .*{ID}"),
    ("size: zero", made(size=0.0), "'slow': size=0.0, expected a positive number"),
    ("size: negative", made(size=-1.0), "'slow': size=-1.0, expected a positive number"),
    ("size: NaN", made(size=math.nan), "size=nan, expected a positive number"),
    ("size: text", made(size="a"), "size='a', expected a positive number"),
    ("change: no function", made(change=5), "'slow': change=5, expected"),
    ("nothing returned", lambda: made(change=print)()(BASELINE), "'slow' returned NoneType, expec"),
    ("raises", chosen(int), "perturbation 'int': .* raised TypeError"),
    ("a number for a name", lambda: get_perturbation(odd(5)), "perturbation name 5: expected"),
    ("twice", chosen("adam", "rmsprop", "adam"), "perturbation 'adam' is given twice"),
    ("two of a name", chosen(made("adam", DOUBLE_BATCH.change)(), "adam"), "is given twice"),
    ("no name", chosen(None), "perturbation None: expected a name"),
    ("a lambda", chosen(lambda recipe: recipe), "perturbation name '<lambda>'"),
)


@in_turn(("make", "message"), REFUSED)
def test_what_is_no_perturbation_is_refused(make: Callable[[], Any], message: str) -> None:
    """When it is made, chosen or applied; the error names it."""
    sees(SettingsError, message, make)


def test_choices_are_resolved_in_order() -> None:
    """Names and perturbations of one's own are kept in the order given."""
    resolved = resolve_perturbations(["rmsprop", DOUBLE_BATCH, "adam+lr-x3"], BASELINE)
    assert list(resolved) == ["rmsprop", "double", "adam+lr-x3"]
    assert resolved["double"] is DOUBLE_BATCH
    assert resolved["adam+lr-x3"](BASELINE).optimizer == Adam(lr=0.001 * 3)
    assert resolve_perturbations([], BASELINE) == {}


def small_steps_first(recipe: Recipe) -> Recipe:
    """Train in small steps.

    And at length.
    """
    return recipe.replace(batch_size=2)


def test_a_function_is_a_perturbation_of_its_name() -> None:
    """With dashes, and summed up by the first line of its docstring."""
    resolved = resolve_perturbations([small_steps_first, "adam"], BASELINE)
    assert list(resolved) == ["small-steps-first", "adam"]
    found = resolved["small-steps-first"]
    assert (found.summary, found.size) == ("Train in small steps", 1.0)
    assert found.axis == "small-steps-first"
    assert found(BASELINE) == Recipe(batch_size=2)
    assert as_perturbation(found) is found


@pytest.mark.usefixtures("own_entries")
def test_what_is_registered_works_wherever_names_do() -> None:
    """Alone, in compositions, on its own axis, in the error's list, and by its repr."""
    made = register_perturbation(small_steps_first)
    assert made is CATALOGUE["small-steps-first"] is get_perturbation("small-steps-first")
    assert evaluated(repr(made)) is made
    both = get_perturbation("small-steps-first+adam")
    assert both(BASELINE) == Recipe(batch_size=2, optimizer=Adam())
    assert repr(both) == "get_perturbation('small-steps-first+adam')"
    assert AXES["small-steps-first"].directions == ((made,),)
    with pytest.raises(SettingsError, match="'small-steps-first' cannot be registered"):
        register_perturbation(small_steps_first)
    with pytest.raises(
        SettingsError, match=r"did you mean 'small-steps-first'\?.*, small-steps-fi"
    ):
        get_perturbation("small-step-first")


@pytest.mark.usefixtures("own_entries")
def test_what_is_registered_joins_its_axis() -> None:
    """As a direction of its own, beside those of the catalogue."""
    directions = AXES["lr"].directions
    own = Perturbation("lr-tiny", get_perturbation("lr-div10").change, "tiny", 9.0, "lr")
    made = register_perturbation(own)
    assert AXES["lr"].directions == (*directions, (made,))
    assert AXES["lr"].perturbations[-1] is made
    assert smaller_changes(made) == []


@pytest.mark.usefixtures("own_entries")
@in_turn("name", ["adam", "lr-x3", "lr-x1.7", "warmup-3", "small+adam", "a+b"])
def test_taken_names_are_not_registered(name: str) -> None:
    """Neither those of the catalogue, nor any that numbers or compositions could make."""
    before = dict(CATALOGUE), dict(AXES)
    with pytest.raises(SettingsError, match=f"{re.escape(repr(name))} cannot be registered"):
        register_perturbation(Perturbation(name, DOUBLE_BATCH.change))
    assert (dict(CATALOGUE), dict(AXES)) == before


@in_turn(
    ("name", "smaller"),
    [
        ("lr-x5", ["lr-x4", "lr-x3", "lr-x2"]),
        ("lr-x1e1", ["lr-x8", "lr-x4", "lr-x3", "lr-x2"]),
        ("lr-x1.5", []),
        # the learning rate falls, and nothing smaller is called lr-x
        ("lr-x0.1", []),
        ("lr-div100", ["lr-div10", "lr-div4", "lr-div3", "lr-div2"]),
        ("momentum-0.8", ["momentum-0.5"]),
        ("adam-x5", ["adam-x3", "adam"]),
        ("weight-decay-0.01", ["weight-decay-0.002", "weight-decay", "weight-decay-0.0001"]),
        ("decoupled-weight-decay-0.001", ["decoupled-weight-decay"]),
        ("stop-loss-0.005", ["stop-loss-0.01", "stop-loss-0.02", "stop-later"]),
        ("stop-loss-0.5", ["stop-loss-0.2"]),
        ("cosine-1000", ["cosine-2000", "cosine-4000"]),
        ("lr-x10+adam", []),
    ],
)
def test_smaller_changes_lie_on_the_way(name: str, smaller: list[str]) -> None:
    """The same direction of the same axis, the largest first; none of a composition."""
    assert smaller_names(name) == smaller


@every_name
def test_smaller_changes_are_smaller_and_lie_on_one_line(name: str) -> None:
    """All of a direction up to the change itself, and nothing else."""
    perturbation = CATALOGUE[name]
    (direction,) = [d for d in AXES[perturbation.axis].directions if perturbation in d]
    place = direction.index(perturbation)
    assert smaller_changes(perturbation) == list(reversed(direction[:place]))


def test_all_along_an_axis_comes_with_a_change() -> None:
    """The change first and once; alone where the catalogue has no such axis."""
    found = along_axis(get_perturbation("past-x4"))
    assert [each.name for each in found] == ["past-x4", "past-x2", "past-x16"]
    assert [each.name for each in along_axis(get_perturbation("past-x3"))] == [
        *("past-x3", "past-x2", "past-x4", "past-x16")
    ]
    assert along_axis(DOUBLE_BATCH) == [DOUBLE_BATCH]


positive = st.floats(0, exclude_min=True, allow_infinity=False, allow_subnormal=False)
fractions = st.floats(0, 1, exclude_max=True)
counts = st.integers(1, 10**6)
some_momentum = st.floats(0.01, 0.99)


def optimizers() -> st.SearchStrategy[Optimizer]:
    """Return optimizers of every kind, with any hyperparameters."""
    decay = st.floats(0, 1e6)
    decays = st.one_of(
        st.fixed_dictionaries({"weight_decay": decay}),
        st.fixed_dictionaries({"weight_decay": positive, "decoupled": st.just(True)}),
    )
    memories = st.one_of(
        st.fixed_dictionaries({"momentum": fractions}),
        st.fixed_dictionaries({"momentum": some_momentum, "nesterov": st.just(True)}),
    )
    plain: st.SearchStrategy[Optimizer] = st.builds(
        lambda lr, decayed, memory: SGD(lr=lr, **decayed, **memory), positive, decays, memories
    )
    pair = st.tuples(fractions, fractions)
    adams = st.sampled_from([Adam, AdamW]).flatmap(
        lambda kind: st.builds(kind, lr=positive, betas=pair, eps=positive, weight_decay=decay)
    )
    others = st.builds(RMSprop, lr=positive, alpha=fractions, eps=positive, weight_decay=decay)
    return plain | adams | others


def any_recipe() -> st.SearchStrategy[Recipe]:
    """Return recipes with any values, each of them the default now and then."""
    layers = st.lists(st.integers(3, 500), min_size=1, max_size=4).map(tuple)
    architectures: st.SearchStrategy[Architecture] = st.one_of(
        st.builds(MLP, hidden=layers | st.just(())), st.builds(ScaleInvariantMLP, hidden=layers)
    )
    warm_ups = st.integers(0, 10**6)
    rates = st.builds(Schedule, warmup=warm_ups) | st.builds(
        Schedule,
        kind=st.sampled_from(["cosine", "step", "exponential"]),
        steps=counts,
        factor=positive.filter(lambda factor: factor != 1),
        warmup=warm_ups,
    )
    stops = st.builds(
        StoppingRule,
        kind=st.sampled_from(["cross_entropy", "accuracy", "steps"]),
        step_limit=counts,
        overtime=st.floats(1, 100),
    )
    return st.builds(
        Recipe,
        architecture=architectures | st.just(MLP()),
        optimizer=optimizers() | st.just(SGD()),
        schedule=rates | st.just(Schedule()),
        batch_size=counts | st.just(16),
        initialization=st.sampled_from(INITIALIZATIONS),
        initialization_scale=positive | st.just(1.0),
        label_smoothing=fractions | st.just(0.0),
        gradient_clipping=st.none() | positive,
        sample_order=st.integers(0, 100),
        precision=st.sampled_from(PRECISIONS),
        stopping=stops | st.just(StoppingRule()),
    )


@given(recipe=any_recipe())
@example(recipe=Recipe())
@example(recipe=UNUSUAL)
def test_a_recipe_is_code_that_makes_it(recipe: Recipe) -> None:
    """Its repr evaluates back, and is as short as it can be."""
    assert evaluated(repr(recipe)) == recipe
    assert repr(Recipe()) == "Recipe()"
    for name in ("architecture", "optimizer", "schedule", "batch_size", "stopping"):
        is_default = getattr(recipe, name) == getattr(Recipe(), name)
        assert (f"Recipe({name}=" in repr(recipe) or f", {name}=" in repr(recipe)) != is_default


@given(recipe=any_recipe(), name=st.sampled_from(sorted(CATALOGUE)))
def test_whatever_the_recipe_a_change_is_a_recipe(recipe: Recipe, name: str) -> None:
    """Or is refused in words; and whether it changes anything can be asked beforehand."""
    try:
        changed = CATALOGUE[name](recipe)
    except SettingsError:
        assert not changes_recipe(CATALOGUE[name], recipe)
        return
    assert changes_recipe(CATALOGUE[name], recipe) == (changed != recipe)
    assert changed.precision == recipe.precision
    assert changed.stopping.step_limit == recipe.stopping.step_limit
