"""Measures over stacks: the same numbers as one network at a time, and nothing but reading."""

from __future__ import annotations

import functools
import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_fragility.errors import MeasureError, SettingsError, UndefinedMeasureError
from pytest_fragility.evaluation.asking import evaluate
from pytest_fragility.families.family import Family
from pytest_fragility.families.plan import FamilyPlan
from pytest_fragility.families.train import train_families
from pytest_fragility.measures import (
    StackMeasure,
    bound_form,
    inverse_margin,
    measure_name,
    negative_log_evidence,
    parameter_count,
    path_norm,
    path_norm_bound,
    reference_measures,
    stacked,
)
from pytest_fragility.measures.measure import (
    BOUND,
    BOUND_FORM,
    LOGARITHM,
    RAW,
    is_control,
    measure_form,
)
from pytest_fragility.networks.stacks import NetworkStack
from pytest_fragility.networks.trained_network import TrainedNetwork
from pytest_fragility.perturbations import BASELINE
from pytest_fragility.recipes import MLP, SGD, Adam, AdamW, Recipe, RMSprop, fixed_steps
from pytest_fragility.store import Store
from pytest_fragility.tasks import Task, TaskData
from tests.in_turn import in_turn

Floats = npt.NDArray[np.float64]
Outcome = float | str

CPU = torch.device("cpu")
SEEDS = (0, 1, 2)
REFERENCE = reference_measures()
# the slowest, which not every test need see
SLOW = {
    "adaptive_sharpness",
    "hessian_largest_eigenvalue",
    "hessian_trace",
    "sum_of_one_vs_rest_negative_log_evidences",
    "worst_case_sharpness",
}
FAST = {name: measure for name, measure in REFERENCE.items() if name not in SLOW}

every_measure = in_turn("measure", REFERENCE.values(), ids=REFERENCE)
every_fast_measure = in_turn("measure", FAST.values(), ids=FAST)


def load_separable() -> TaskData:
    """Return three blobs far apart in 4 dimensions, which a small network learns in a moment."""
    generator = np.random.default_rng(3)
    centres = 2.5 * np.eye(3, 4)
    labels = np.arange(120) % 3
    inputs = centres[labels] + 0.2 * generator.normal(size=(120, 4))
    return TaskData(inputs[:80], labels[:80], inputs[80:], labels[80:])


SEPARABLE = Task("separable", load_separable)
LEARNED = Recipe(
    architecture=MLP(hidden=(5,)), optimizer=SGD(lr=0.1), batch_size=8, stopping=fixed_steps(150)
)


def trained(recipe: Recipe, sizes: tuple[int, ...], seeds: tuple[int, ...]) -> Family:
    """Return a family of this recipe alone, trained anew."""
    plan = FamilyPlan(SEPARABLE, {BASELINE: recipe}, sizes, seeds)
    return train_families([plan], device=CPU)[0]


@pytest.fixture(scope="module")
def learned() -> Family:
    """Networks with positive margins, for which every measure is defined."""
    return trained(LEARNED, (12, 24), SEEDS)


def stack_of(family: Family, recipe: str, n: int, seeds: Sequence[int]) -> NetworkStack:
    """Return these networks stacked in this order, with nothing worked out yet."""
    return NetworkStack.of_runs([family.trained_run(recipe, n, seed) for seed in seeds], CPU, {})


@functools.cache
def outcome_of(measure: StackMeasure, family: Family, recipe: str, n: int, seed: int) -> Outcome:
    """Return one network's value on its own, or why it has none."""
    try:
        return measure(family[family.task.name, recipe, n, seed])
    except UndefinedMeasureError as error:
        return f"{error.place}: {error}"


def require_stack_as_single_networks(
    measure: StackMeasure, family: Family, recipe: str, n: int, stack: NetworkStack
) -> None:
    """Fail unless a stack gives what its networks give alone, errors included."""
    alone = [outcome_of(measure, family, recipe, n, seed) for seed in stack.seeds]
    errors = [(place, value) for place, value in enumerate(alone) if isinstance(value, str)]
    if errors:
        with pytest.raises(UndefinedMeasureError) as caught:
            measure.over_stack(stack)
        place, text = errors[0]
        assert caught.value.place == place
        assert text == f"0: {caught.value}"
        return
    values = measure.over_stack(stack)
    assert values.shape == (len(stack),) and values.dtype == np.float64
    np.testing.assert_allclose(values, np.array(alone), rtol=1e-9, atol=0)


# a stack against its networks, one by one


@every_measure
def test_a_stack_gives_what_each_network_gives(measure: StackMeasure, learned: Family) -> None:
    """Where every measure is defined: seeds of one recipe and size."""
    seeds = (2, 0) if measure.__name__ in SLOW else SEEDS
    stack = stack_of(learned, BASELINE, 12, seeds)
    require_stack_as_single_networks(measure, learned, BASELINE, 12, stack)
    alone = [outcome_of(measure, learned, BASELINE, 12, seed) for seed in seeds]
    assert not any(isinstance(value, str) for value in alone)
    assert len(set(alone)) == (1 if measure is parameter_count else len(seeds))


@in_turn("name", [n for n, each in FAST.items() if "trained weights" in each.reads])
def test_what_is_undefined_alone_is_undefined_in_a_stack(name: str, small_family: Family) -> None:
    """Networks that mislabel samples: the same values, and the same error for the same network."""
    recipe, n, order = ("adam", 32, SEEDS) if "pac_bayes" in name else (BASELINE, 64, (1, 0, 2))
    stack = stack_of(small_family, recipe, n, order)
    require_stack_as_single_networks(FAST[name], small_family, recipe, n, stack)


def test_the_first_undefined_network_is_named(small_family: Family) -> None:
    """The margin of seed 1 is positive, that of the others is not."""
    stack = stack_of(small_family, BASELINE, 64, (1, 0, 2))
    assert inverse_margin(small_family["blobs", BASELINE, 64, 1]) > 0
    with pytest.raises(UndefinedMeasureError) as error:
        inverse_margin.over_stack(stack)
    assert error.value.place == 1
    assert "margin" in str(error.value)


optimizers = st.sampled_from(
    [
        SGD(lr=0.05),
        SGD(lr=0.02, momentum=0.9, weight_decay=1e-3),
        Adam(lr=0.01),
        AdamW(lr=0.02),
        RMSprop(lr=0.005),
    ]
)
recipes = st.builds(
    Recipe,
    architecture=st.builds(
        MLP, hidden=st.lists(st.integers(1, 6), min_size=0, max_size=3).map(tuple)
    ),
    optimizer=optimizers,
    batch_size=st.sampled_from([4, 8]),
    initialization_scale=st.sampled_from([0.5, 1.0, 2.0]),
    stopping=st.integers(1, 25).map(fixed_steps),
)


@settings(deadline=None, max_examples=8)
@given(
    recipe=recipes,
    n=st.integers(10, 20),
    names=st.lists(st.sampled_from(sorted(FAST)), min_size=5, max_size=5, unique=True),
    order=st.permutations(SEEDS),
)
def test_any_recipe_stacks(recipe: Recipe, n: int, names: list[str], order: list[int]) -> None:
    """Random depths, widths, optimizers and initializations, hardly trained."""
    family = trained(recipe, (n,), SEEDS)
    stack = stack_of(family, BASELINE, n, order)
    for name in names:
        require_stack_as_single_networks(REFERENCE[name], family, BASELINE, n, stack)


def test_trained_twice_everything_comes_out_the_same(learned: Family) -> None:
    """Two families that share nothing, to the last bit, randomness included."""
    again = trained(LEARNED, (12, 24), SEEDS)
    for name, measure in FAST.items():
        first = measure.over_stack(stack_of(learned, BASELINE, 12, SEEDS))
        second = measure.over_stack(again.stack(BASELINE, 12))
        np.testing.assert_array_equal(first, second, err_msg=name)


# measures only read


def state(network: TrainedNetwork) -> dict[str, torch.Tensor]:
    """Return a copy of everything that a network holds."""
    parts = {"inputs": network.inputs, "labels": network.labels}
    parts |= {f"model {key}": value for key, value in network.model.state_dict().items()}
    parts |= {f"initial {key}": value for key, value in network.initial_model.state_dict().items()}
    return {name: part.clone() for name, part in parts.items()}


def surroundings() -> list[Any]:
    """Return what a measure could change outside of the network."""
    return [
        torch.random.get_rng_state().tolist(),
        str(np.random.get_state()),  # noqa: NPY002
        random.getstate(),
        torch.get_default_dtype(),
        torch.get_num_threads(),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.are_deterministic_algorithms_enabled(),
    ]


@every_measure
def test_measures_only_read_a_network(measure: StackMeasure, learned: Family) -> None:
    """Weights, mode, gradients and the world outside stay; a finite number comes back."""
    network = learned["separable", BASELINE, 12, 1]
    before, around = state(network), surroundings()
    value = measure(network)
    after = state(network)
    assert type(value) is float and math.isfinite(value) and value >= 0
    assert surroundings() == around
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    for model in (network.model, network.initial_model):
        assert not any(module.training for module in model.modules())
        assert all(each.grad is None and each.requires_grad for each in model.parameters())


def tensors_of(stack: NetworkStack) -> dict[str, torch.Tensor]:
    """Return a stack's tensors by part and name."""
    parts = ("weights", "initial_weights", "buffers", "initial_buffers")
    return {
        f"{part} {name}": tensor for part in parts for name, tensor in getattr(stack, part).items()
    }


@every_measure
def test_measures_only_read_a_stack(measure: StackMeasure, learned: Family) -> None:
    """Other measures share its tensors, its structure and the task's samples."""
    seeds = (0,) if measure.__name__ in SLOW else SEEDS
    stack = stack_of(learned, BASELINE, 12, seeds)
    data = learned.task.data
    before = {name: tensor.clone() for name, tensor in tensors_of(stack).items()}
    structure = {key: value.clone() for key, value in stack.structure.state_dict().items()}
    inputs, labels = data.train_inputs.copy(), data.train_labels.copy()
    around = surroundings()
    values = measure.over_stack(stack)
    assert values.shape == (len(seeds),) and np.isfinite(values).all()
    assert surroundings() == around
    assert all(torch.equal(before[name], tensor) for name, tensor in tensors_of(stack).items())
    assert all(
        torch.equal(structure[name], value) for name, value in stack.structure.state_dict().items()
    )
    assert not any(module.training for module in stack.structure.modules())
    assert all(each.grad is None for each in stack.structure.parameters())
    np.testing.assert_array_equal(data.train_inputs, inputs)
    np.testing.assert_array_equal(data.train_labels, labels)


@every_fast_measure
def test_a_stack_can_be_measured_where_gradients_are_forbidden(
    measure: StackMeasure, learned: Family
) -> None:
    """Within torch.no_grad() the values are the same."""
    expected = measure.over_stack(stack_of(learned, BASELINE, 12, (0,)))
    with torch.no_grad():
        values = measure.over_stack(stack_of(learned, BASELINE, 12, (0,)))
        assert not torch.is_grad_enabled()
    np.testing.assert_array_equal(values, expected)


# what a reference measure says of itself


def said(measure: StackMeasure) -> str:
    """Return the docstring on one line."""
    return " ".join((measure.__doc__ or "").split())


def test_every_reference_measure_documents_itself() -> None:
    """Formula, source, what it reads, and what its value is, in words and in attributes."""
    assert len(REFERENCE) > 45 and list(REFERENCE) == sorted(REFERENCE)
    known = {"architecture", "trained weights", "initial weights"}
    known |= {"inputs", "labels", "randomness"}
    for name, measure in REFERENCE.items():
        assert isinstance(measure, StackMeasure) and measure_name(measure) == name
        assert said(measure).startswith("Return ") and len(said(measure)) > 100, name
        assert measure.source and set(measure.reads) <= known, name
        assert len(set(measure.reads)) == len(measure.reads) > 0, name
        assert measure.form == measure_form(measure) and measure.form in (RAW, BOUND), name
        if not is_control(measure):
            words = "raw value" if measure.form == RAW else "bound on the error"
            assert "Reads " in said(measure) and words in said(measure).lower(), name
            assert len(said(measure)) > 200, name


# names and forms of derived measures


def test_derived_measures_are_named_after_the_measure() -> None:
    """Bound's form and logarithm, and what their values are."""
    assert repr(path_norm) == "<measure path_norm: raw value>"
    assert path_norm.form == RAW
    for derived, suffix, form in (
        (path_norm.bound_form, "bound_form", BOUND_FORM),
        (path_norm.logarithm, "logarithm", LOGARITHM),
    ):
        assert derived.__name__ == derived.__qualname__ == f"path_norm.{suffix}"
        assert measure_name(derived) == f"path_norm.{suffix}"
        assert derived.form == form
        assert (derived.source, derived.reads) == (path_norm.source, path_norm.reads)
        assert derived.__module__ == "pytest_fragility.measures.norms.path_norms"
        assert form in said(derived) and said(path_norm) in said(derived)
    assert path_norm.bound_form.logarithm.__name__ == "path_norm.bound_form.logarithm"


def test_a_derived_control_stays_a_control() -> None:
    """In whatever form it is audited."""
    assert parameter_count.bound_form.is_control and parameter_count.logarithm.is_control
    assert not path_norm.bound_form.is_control and not path_norm.logarithm.is_control


@every_fast_measure
def test_derived_values_are_root_and_logarithm(measure: StackMeasure, learned: Family) -> None:
    """Against the raw values; a measure with a bound of its own is left to its own tests."""
    stack = learned.stack(BASELINE, 12)
    raw = measure.over_stack(stack)
    np.testing.assert_allclose(measure.logarithm.over_stack(stack), np.log(raw), rtol=1e-9)
    if measure.form == RAW and measure.bound_form.form == BOUND_FORM:
        bound = measure.bound_form.over_stack(stack)
        np.testing.assert_allclose(bound, np.sqrt(raw / 12), rtol=1e-9)
        logarithm = measure.bound_form.logarithm.over_stack(stack)
        np.testing.assert_allclose(logarithm, np.log(raw / 12) / 2, rtol=1e-9)


def test_a_measure_may_have_a_bound_of_its_own(learned: Family) -> None:
    """Then that is its bound's form, and no square root."""
    assert negative_log_evidence.bound_form.form == BOUND
    stack = learned.stack(BASELINE, 12)
    raw = negative_log_evidence.over_stack(stack)
    bound = negative_log_evidence.bound_form.over_stack(stack)
    assert not np.allclose(bound, np.sqrt(raw / 12))
    assert np.all((bound > 0) & (bound < 1))


@in_turn(
    ("measure", "text"),
    [
        (path_norm_bound, "path_norm_bound has no further bound's form: it is already a bound on"),
        (path_norm.bound_form, "already a bound's form, sqrt(value / n)"),
        (path_norm.logarithm, "already a natural logarithm"),
        (negative_log_evidence.bound_form, "already a bound on the error"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_bound_has_no_further_bound_form(measure: StackMeasure, text: str) -> None:
    """As an attribute and by `bound_form`: a settings error that says what it is already."""
    for make in (bound_form, lambda each: each.bound_form):
        with pytest.raises(SettingsError) as error:
            make(measure)
        assert text in str(error.value)


# measures of one's own


def by_seed(values: Callable[[NetworkStack], Any]) -> StackMeasure:
    """Return a measure of one's own that is called ``ruler``."""

    def ruler(stack: NetworkStack) -> Any:
        """Say something about a stack."""
        return values(stack)

    return stacked(ruler)


@in_turn(
    "convert",
    [
        list,
        tuple,
        np.array,
        lambda values: np.array(values, dtype=np.float32),
        torch.tensor,
        lambda values: torch.tensor(values, requires_grad=True),
        lambda values: torch.tensor(values).half(),
        lambda values: torch.tensor(values).long(),
        lambda values: [torch.tensor(value) for value in values],
        # as ``[loss_of(weights) for each network]`` gives them
        lambda values: [torch.tensor(value, requires_grad=True) * 1 for value in values],
        lambda values: [np.float64(value) for value in values],
    ],
)
def test_a_stacked_measure_returns_numbers_of_any_kind(
    convert: Callable[[list[float]], Any], small_family: Family
) -> None:
    """Lists, arrays and tensors of one number per network."""
    measure = by_seed(lambda stack: convert([float(seed + 1) for seed in stack.seeds]))
    values = measure.over_stack(small_family.stack("adam", 32))
    assert values.dtype == np.float64
    np.testing.assert_array_equal(values, [1, 2, 3])
    np.testing.assert_array_equal(evaluate(measure, "m", small_family, "adam"), [[1, 2, 3]] * 3)


def test_a_stacked_measure_is_called_once_per_size(small_family: Family) -> None:
    """With all seeds of one recipe."""
    calls: list[tuple[str, int, tuple[int, ...]]] = []

    def note(stack: NetworkStack) -> Floats:
        calls.append((stack.recipe.optimizer.kind, stack.n, stack.seeds))
        return 1000.0 * stack.n + np.array(stack.seeds)

    values = evaluate(by_seed(note), "ruler", small_family, "adam")
    assert calls == [("adam", n, (0, 1, 2)) for n in (16, 32, 64)]
    expected = [[1000 * n + seed for seed in (0, 1, 2)] for n in (16, 32, 64)]
    np.testing.assert_array_equal(values, np.array(expected, dtype=float))


def test_a_stacked_measure_of_one_network_is_a_float(small_family: Family) -> None:
    """It then sees a stack of one, with everything that the network has."""

    def look(stack: NetworkStack) -> list[float]:
        assert len(stack) == 1 and stack.seeds == (2,) and stack.n == 32
        assert torch.equal(stack.weights["1.weight"][0], network.model.state_dict()["1.weight"])
        initial = network.initial_model.state_dict()
        assert torch.equal(stack.initial_weights["1.bias"][0], initial["1.bias"])
        assert stack.train_losses == (network.train_loss,)
        assert torch.equal(stack.inputs[0], network.inputs)
        assert torch.equal(stack.labels[0], network.labels)
        assert stack.recipe == network.recipe
        return [7]

    network = small_family["blobs", "adam", 32, 2]
    value = by_seed(look)(network)
    assert type(value) is float and value == 7.0


def test_a_stack_holds_the_networks_of_the_family(small_family: Family) -> None:
    """Weights, samples and records by place, the same as `family[...]` gives one at a time."""
    stack = small_family.stack("adam", 32)
    assert stack is small_family.stack("adam", 32)
    assert len(stack) == 3 and stack.inputs.shape == (3, 32, 6) and stack.labels.shape == (3, 32)
    for place, seed in enumerate(stack.seeds):
        network = small_family["blobs", "adam", 32, seed]
        assert list(stack.weights) == [name for name, _ in network.model.named_parameters()]
        for name, parameter in network.model.named_parameters():
            assert torch.equal(stack.weights[name][place], parameter)
        for name, parameter in network.initial_model.named_parameters():
            assert torch.equal(stack.initial_weights[name][place], parameter)
        assert torch.equal(stack.inputs[place], network.inputs)
        assert torch.equal(stack.labels[place], network.labels)
        assert stack.train_losses[place] == network.train_loss


def test_samples_of_a_stack_are_made_anew_at_each_use(small_family: Family) -> None:
    """What a measure does to them harms nobody."""
    stack = small_family.stack("adam", 16)
    expected = stack.inputs.clone()
    stack.inputs.zero_()
    stack.labels.zero_()
    assert torch.equal(stack.inputs, expected) and bool(stack.labels.any())


@in_turn(
    ("result", "shape"),
    [
        (1.0, "()"),
        ([1.0], "(1,)"),
        ([1.0, 2.0], "(2,)"),
        (np.ones((3, 1)), "(3, 1)"),
        (torch.ones(3, 3), "(3, 3)"),
        ([], "(0,)"),
    ],
    ids=repr,
)
def test_a_stacked_measure_of_the_wrong_shape_is_refused(
    result: Any, shape: str, small_family: Family
) -> None:
    """The error says what came and what was expected."""
    measure = by_seed(lambda stack: result)
    with pytest.raises(ValueError, match="ruler returned shape") as error:
        measure.over_stack(small_family.stack("adam", 16))
    assert f"shape {shape} for a stack of 3 networks, expected (3,)" in str(error.value)
    with pytest.raises(MeasureError, match="raised ValueError: ruler returned shape"):
        evaluate(measure, "ruler", small_family, "adam")


@pytest.mark.filterwarnings("default")
@in_turn(
    "value",
    [1 + 2j, np.complex128(1 + 2j), torch.tensor(1 + 2j), "0.5", True, torch.tensor(True), None],
    ids=repr,
)
def test_what_is_no_real_number_is_refused_from_a_stack_too(
    value: Any, small_family: Family
) -> None:
    """As it is from a measure of one network."""

    def results(stack: NetworkStack) -> Any:
        same = [value] * len(stack)
        return torch.stack(same) if isinstance(value, torch.Tensor) else same

    with pytest.raises(MeasureError):
        evaluate(by_seed(results), "ruler", small_family, "adam")
    with pytest.raises(MeasureError):
        evaluate(lambda network: value, "ruler", small_family, "adam")


def logarithms(values: list[float]) -> StackMeasure:
    """Return a measure ``huge`` whose logarithms are these."""

    def huge(stack: NetworkStack) -> list[float]:
        return values

    return StackMeasure(huge, is_logarithm=True)


def test_a_measure_that_works_in_logarithms_gives_values(small_family: Family) -> None:
    """Exponentiated; the logarithms are still there, and so is the bound's form."""
    stack = small_family.stack("adam", 16)
    measure = logarithms([0.0, 3.0, 709.78])
    np.testing.assert_allclose(measure.over_stack(stack), np.exp([0.0, 3.0, 709.78]), rtol=1e-14)
    np.testing.assert_array_equal(measure.logarithm.over_stack(stack), [0.0, 3.0, 709.78])
    bound = np.exp((np.array([0.0, 3.0, 709.78]) - math.log(16)) / 2)
    np.testing.assert_allclose(measure.bound_form.over_stack(stack), bound, rtol=1e-14)


def test_a_value_too_large_for_a_float_names_the_way_out(small_family: Family) -> None:
    """The network, its logarithm, and the two forms that do not overflow."""
    stack = small_family.stack("adam", 16)
    measure = logarithms([3.0, 710.0, 800.0])
    with pytest.raises(UndefinedMeasureError) as error:
        measure.over_stack(stack)
    assert error.value.place == 1
    for part in ("huge is exp(710.0)", "huge.bound_form", "huge.logarithm", "scale='linear'"):
        assert part in str(error.value)
    np.testing.assert_array_equal(measure.logarithm.over_stack(stack), [3.0, 710.0, 800.0])
    assert measure.bound_form.over_stack(stack)[2] == pytest.approx(math.exp(400) / 4)
    with pytest.raises(MeasureError, match=r"n=16, seed 1: huge is exp"):
        evaluate(measure, "huge", small_family, "adam")


def test_a_bound_form_too_large_for_a_float_recommends_no_further_one(
    small_family: Family,
) -> None:
    """Its logarithm is all that is left."""
    with pytest.raises(UndefinedMeasureError) as error:
        logarithms([3.0, 4.0, 1500.0]).bound_form.over_stack(small_family.stack("adam", 16))
    assert "huge.bound_form.logarithm" in str(error.value)
    assert "bound_form.bound_form" not in str(error.value)


@in_turn("form", ["bound_form", "logarithm"])
def test_a_negative_value_has_neither_root_nor_logarithm(form: str, small_family: Family) -> None:
    """The error names the measure, the value and the network."""
    measure = by_seed(lambda stack: [1.0, 2.0, -3.5])
    with pytest.raises(UndefinedMeasureError, match=r"ruler is -3.5, which has no log") as error:
        getattr(measure, form).over_stack(small_family.stack("adam", 16))
    assert error.value.place == 2
    with pytest.raises(MeasureError, match=r"n=16, seed 2: ruler is -3.5"):
        evaluate(getattr(measure, form), "ruler", small_family, "adam", scale="linear")


def test_zero_stays_zero_in_the_bound_form(small_family: Family) -> None:
    """Its logarithm is minus infinity, and neither warns."""
    measure = by_seed(lambda stack: [0.0, 16.0, 64.0])
    stack = small_family.stack("adam", 16)
    np.testing.assert_allclose(measure.bound_form.over_stack(stack), [0, 1, 2], rtol=1e-15)
    assert measure.logarithm.over_stack(stack)[0] == -math.inf


def test_stacked_keeps_the_functions_name_and_words() -> None:
    """And says that the value is a raw one."""
    measure = by_seed(lambda stack: stack.seeds)
    assert isinstance(measure, StackMeasure)
    assert measure.__name__ == "ruler" and measure.__doc__ == "Say something about a stack."
    assert measure.form == RAW and measure.source == "" and not measure.is_control
    assert measure_name(measure.bound_form) == "ruler.bound_form"


# randomness and what is worked out once


def draws(stack: NetworkStack, place: int, purpose: str) -> list[float]:
    """Return the first numbers of a network's stream for a purpose."""
    return torch.rand(4, generator=stack.generator(place, purpose)).tolist()


def test_a_networks_randomness_does_not_depend_on_its_stack(small_family: Family) -> None:
    """Its own stream, alone, in any order, or asked for again after other draws."""
    whole = small_family.stack("adam", 32)
    expected = [draws(whole, place, "noise") for place in range(3)]
    draws(whole, 1, "something else")
    assert [draws(whole, place, "noise") for place in range(3)] == expected
    turned = stack_of(small_family, "adam", 32, (2, 0))
    assert [draws(turned, place, "noise") for place in range(2)] == [expected[2], expected[0]]
    for seed in SEEDS:
        alone = NetworkStack.of_network(small_family["blobs", "adam", 32, seed])
        assert draws(alone, 0, "noise") == expected[seed]


def test_every_network_and_purpose_has_a_stream_of_its_own(small_family: Family) -> None:
    """No two of them begin alike, nor like the network's own `rng`."""
    seen = {
        tuple(draws(small_family.stack(recipe, n), place, purpose))
        for recipe in small_family.recipes
        for n in small_family.sizes
        for place in range(3)
        for purpose in ("noise", "probes", "")
    }
    assert len(seen) == 2 * 3 * 3 * 3
    own = [torch.rand(4, generator=network.rng).tolist() for network in small_family]
    assert not seen & {tuple(values) for values in own}


def test_a_measures_draws_leave_the_networks_rng_alone(small_family: Family) -> None:
    """A measure over a stack has streams of its own; calling it twice gives the same."""
    network = small_family["blobs", "adam", 32, 0]
    before = network.rng.get_state()
    measure = by_seed(lambda stack: [sum(draws(stack, 0, "noise"))])
    assert measure(network) == measure(network)
    assert torch.equal(network.rng.get_state(), before)


def test_what_is_asked_for_once_is_computed_once(small_family: Family) -> None:
    """Per key and stack, None included."""
    stack = stack_of(small_family, "adam", 16, SEEDS)
    calls: list[str] = []

    def compute(name: str, value: Any) -> Callable[[], Any]:
        def counted() -> Any:
            calls.append(name)
            return value

        return counted

    assert stack.once("a", compute("a", 1)) == 1
    assert stack.once("a", compute("a again", 2)) == 1
    assert stack.once(("b", True), compute("b", None)) is None
    assert stack.once(("b", True), compute("b again", 3)) is None
    other = stack_of(small_family, "adam", 16, SEEDS)
    assert other.once("a", compute("other", 4)) == 4
    assert calls == ["a", "b", "other"]


def test_a_failed_computation_is_not_remembered(small_family: Family) -> None:
    """The next measure tries again, and gets the same error."""
    stack = stack_of(small_family, "adam", 16, SEEDS)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            stack.once("a", lambda: 1 / 0)
    assert stack.once("a", lambda: 5) == 5


def test_what_depends_on_samples_alone_is_shared_in_the_family(
    blobs: Task, small_recipe: Recipe
) -> None:
    """Between recipes, by size and seed; another family works it out for itself."""
    recipes = {BASELINE: small_recipe, "short": small_recipe.replace(stopping=fixed_steps(3))}
    plan = FamilyPlan(blobs, recipes, (16, 32), (0, 1))
    calls: list[tuple[int, int]] = []

    def look(stack: NetworkStack) -> list[float]:
        def compute(place: int) -> float:
            calls.append((stack.n, stack.seeds[place]))
            return float(stack.inputs[place].square().sum())

        return [
            stack.once_for_samples(place, "size of inputs", functools.partial(compute, place))
            for place in range(len(stack))
        ]

    family, other = train_families([plan], device=CPU)[0], train_families([plan], device=CPU)[0]
    values = {name: evaluate(by_seed(look), "ruler", family, name) for name in recipes}
    assert sorted(calls) == [(16, 0), (16, 1), (32, 0), (32, 1)]
    np.testing.assert_array_equal(values[BASELINE], values["short"])
    expected = [
        [float(family["blobs", BASELINE, n, seed].inputs.square().sum()) for seed in (0, 1)]
        for n in (16, 32)
    ]
    np.testing.assert_allclose(values[BASELINE], expected, rtol=1e-6)
    evaluate(by_seed(look), "ruler", other, BASELINE)
    assert len(calls) == 8


def test_networks_on_their_own_share_nothing(small_family: Family) -> None:
    """A stack of one knows nothing of the samples of another."""
    first = NetworkStack.of_network(small_family["blobs", "adam", 16, 0])
    second = NetworkStack.of_network(small_family["blobs", "adam", 16, 1])
    assert first.once_for_samples(0, "key", lambda: 1) == 1
    assert second.once_for_samples(0, "key", lambda: 2) == 2
    assert first.once_for_samples(0, "key", lambda: 3) == 1


def test_networks_that_differ_do_not_stack(small_family: Family) -> None:
    """Another training set size, or none at all; the error says what differs."""
    networks = [small_family["blobs", "baseline", n, 0] for n in (16, 32)]
    with pytest.raises(SettingsError, match=r"networks 0 and 1 .* inputs is \(16, 6\)"):
        NetworkStack.of_networks(networks)
    with pytest.raises(SettingsError, match="at least one network"):
        NetworkStack.of_networks([])


def test_a_family_from_a_store_stacks_as_one_just_trained(
    small_family: Family, tmp_path: Path
) -> None:
    """Stored weights come back in another order of names."""
    store = Store(tmp_path / "cache")
    device = torch.device("cpu")
    train_families([small_family.plan], device=device, store=store)
    (stored,) = train_families([small_family.plan], device=device, store=store)
    for name in ("path_norm", "inverse_margin", "pac_bayes_flatness", "gradient_norm"):
        measure = reference_measures()[name]
        try:
            expected = measure.over_stack(small_family.stack("adam", 32))
        except UndefinedMeasureError:
            continue
        assert measure.over_stack(stored.stack("adam", 32)).tolist() == expected.tolist()
