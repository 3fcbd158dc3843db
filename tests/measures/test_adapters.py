"""Measures in their authors' shapes: arguments are filled by name, or as `adapt` is told."""

from __future__ import annotations

import functools
import operator
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from pytest_fragility.errors import MeasureError, SettingsError
from pytest_fragility.evaluation.asking import evaluate
from pytest_fragility.families.family import Family
from pytest_fragility.measures import Measure, adapt, measure_name, oracle, path_norm
from pytest_fragility.measures.adapters import SOURCES, SYNONYMS, as_measure, call_form
from pytest_fragility.measures.measure import is_oracle
from pytest_fragility.networks.trained_network import OracleNetwork, TrainedNetwork
from tests.in_turn import in_turn
from tests.plugin.conftest import ALL_CHECKS, CHECKS, Project
from tests.sample_networks import perceptron, randomize, sample_network


@pytest.fixture
def project(pytester: pytest.Pytester) -> Project:
    """A small project whose networks train in a moment."""
    return Project(pytester)


def network_of(n: int = 5, *, seed: int = 0) -> TrainedNetwork:
    """Return a random network with random samples, some of which it mislabels."""
    generator = np.random.default_rng(seed)
    model, initial = randomize(perceptron([3, 4, 2]), 1), randomize(perceptron([3, 4, 2]), 2)
    inputs = torch.from_numpy(generator.normal(size=(n, 3))).float()
    labels = torch.from_numpy(generator.integers(2, size=n))
    return sample_network(model, inputs, labels, initial_model=initial, seed=seed)


NETWORK = network_of()
seen: dict[str, Any] = {}


def note(**arguments: Any) -> float:
    """Remember the arguments of a call."""
    seen.clear()
    seen.update(arguments)
    return 1.0


def call(measure: Measure, network: TrainedNetwork = NETWORK) -> dict[str, Any]:
    """Return what a measure is called with."""
    seen.clear()
    assert as_measure(measure)(network) == 1.0
    return dict(seen)


# which arguments get what


def of(signature: str, **annotations: Any) -> Measure:
    """Return a function of this signature, which notes its arguments."""
    names = [part.strip(" *").partition("=")[0] for part in signature.split(",")]
    noted = ", ".join(f"{name}={name}" for name in names if name not in ("", "/"))
    measure: Measure = eval(f"lambda {signature}: note({noted})", {"note": note})
    measure.__annotations__ = annotations
    return measure


MODEL, INITIAL = NETWORK.model, NETWORK.initial_model
NEITHER = {"args": (), "kwargs": {}}
SIGNATURES: list[tuple[Measure, dict[str, Any]]] = [
    (of("model"), {"model": MODEL}),
    (of("model", model=nn.Module), {"model": MODEL}),
    (of("model", model="NeuralNetwork"), {"model": MODEL}),
    (of("*, model"), {"model": MODEL}),
    (of("model, /"), {"model": MODEL}),
    (of("model", model=TrainedNetwork), {"model": NETWORK}),
    (of("model", model="TrainedNetwork"), {"model": NETWORK}),
    (of("model", model="networks.OracleNetwork"), {"model": NETWORK}),
    *((of(name), {name: NETWORK}) for name in ("network", "net", "x", "inputs", "init_model")),
    (of("*, network"), {"network": NETWORK}),
    (of("scale=1.0, *, net"), {"scale": 1.0, "net": NETWORK}),
    (of("network, **kwargs"), {"network": NETWORK, "kwargs": {}}),
    (of("*args, **kwargs"), {**NEITHER, "args": (NETWORK,)}),
    (of("model, n, /"), {"model": MODEL, "n": NETWORK.n}),
    (of("model, seed, *args"), {"model": MODEL, "seed": 0, "args": ()}),
    (of("model, init_model, **kw"), {"model": MODEL, "init_model": INITIAL, "kw": {}}),
    # an argument with a default keeps it, though its name is known
    (of("model, dataloader=None, *, n=-1"), {"model": MODEL, "dataloader": None, "n": -1}),
]


def test_arguments_get_what_their_names_say() -> None:
    """A single one gets the network, but for one called model, unless annotated otherwise."""
    for measure, expected in SIGNATURES:
        got = call(measure)
        assert got == expected, (got, expected)
    for plain in (of("net"), of("model", model=TrainedNetwork)):
        assert as_measure(plain) is plain and call_form(plain) == ""


# functions of several arguments


def published(
    model: nn.Module, init_model: nn.Module, dataloader: Any, accuracy: float, seed: int
) -> float:
    """See what published code asks for."""
    return note(
        model=model, init_model=init_model, dataloader=dataloader, accuracy=accuracy, seed=seed
    )


def test_a_function_in_the_published_shape_is_filled() -> None:
    """Model, initial model, samples, train accuracy and seed."""
    network = network_of(40, seed=3)
    got = call(published, network)
    assert got["model"] is network.model and got["init_model"] is network.initial_model
    assert got["seed"] == 3
    with torch.no_grad():
        right = int((network.model(network.inputs).argmax(dim=1) == network.labels).sum())
    assert got["accuracy"] == pytest.approx(right / 40, abs=1e-12) and 0 < right < 40
    inputs, labels = next(iter(got["dataloader"]))
    assert torch.equal(inputs, network.inputs) and torch.equal(labels, network.labels)


EXPECTED: dict[str, Callable[[TrainedNetwork], Any]] = {
    "network": lambda network: network,
    "model": lambda network: network.model,
    "initial_model": lambda network: network.initial_model,
    "inputs": lambda network: network.inputs,
    "labels": lambda network: network.labels,
    "accuracy": lambda network: 1 - network.train_error,
    "train_loss": lambda network: network.train_loss,
    "train_error": lambda network: network.train_error,
    "n": lambda network: network.n,
    "seed": lambda network: network.seed,
    "recipe": lambda network: network.recipe,
    "rng": lambda network: network.rng,
    "init_model": lambda network: network.initial_model,
    "model_init": lambda network: network.initial_model,
    "acc": lambda network: 1 - network.train_error,
    "train_accuracy": lambda network: 1 - network.train_error,
    "train_acc": lambda network: 1 - network.train_error,
    "targets": lambda network: network.labels,
    "generator": lambda network: network.rng,
}
LOADERS = ["dataloader", "data_loader", "train_loader", "trainloader", "loader"]


@in_turn("name", [name for name in EXPECTED if name != "model"])
def test_every_known_name_is_filled(name: str) -> None:
    """Next to a model, in either order."""
    for names in (("model", name), (name, "model")):
        got = call(of(", ".join(names)))
        assert list(got) == list(names)
        assert got["model"] is NETWORK.model
        expected = EXPECTED[name](NETWORK)
        assert got[name] is expected or got[name] == pytest.approx(expected)


@in_turn("name", LOADERS)
def test_every_name_of_a_loader_is_filled(name: str) -> None:
    """A torch DataLoader over the training samples."""
    loader = call(of(f"model, {name}"))[name]
    assert isinstance(loader, DataLoader)
    assert len(call(of(f"model, {name}"))[name].dataset) == NETWORK.n


def test_these_are_all_names_that_are_known() -> None:
    """A new one needs a test above."""
    assert set(SOURCES) | set(SYNONYMS) == set(EXPECTED) | set(LOADERS)
    assert set(SYNONYMS.values()) <= set(SOURCES)


def test_a_decorated_function_is_filled_by_its_own_names() -> None:
    """`functools.wraps` keeps them."""
    measure = of("model, seed")

    @functools.wraps(measure)
    def decorated(*args: Any, **kwargs: Any) -> float:
        value: float = measure(*args, **kwargs)
        return value

    assert call(decorated) == {"model": NETWORK.model, "seed": 0}


@dataclass
class Callable2:
    """An object that is called with model and seed."""

    scale: float

    def __call__(self, model: Any, seed: int) -> float:
        """See them."""
        return note(model=model, seed=seed, scale=self.scale)

    def of_network(self, network: Any) -> float:
        """See the network."""
        return note(network=network, scale=self.scale)

    def of_labels(self, model: Any, labels: Any) -> float:
        """See the labels."""
        return note(model=model, labels=labels)


def scaled(model: Any, init_model: Any, scale: float) -> float:
    """See a scale that no network has."""
    return note(model=model, init_model=init_model, scale=scale)


def scale_first(scale: float, network: Any) -> float:
    """See a scale in the first place."""
    return note(network=network, scale=scale)


@in_turn(
    ("measure", "expected"),
    [
        (Callable2(2.0), {"model": NETWORK.model, "seed": 0, "scale": 2.0}),
        (Callable2(2.0).of_network, {"network": NETWORK, "scale": 2.0}),
        (Callable2(2.0).of_labels, {"model": NETWORK.model, "labels": NETWORK.labels}),
        (
            functools.partial(scaled, scale=3.0),
            {"model": NETWORK.model, "init_model": NETWORK.initial_model, "scale": 3.0},
        ),
        (functools.partial(scale_first, 4.0), {"network": NETWORK, "scale": 4.0}),
        (functools.partial(of("model")), {"model": NETWORK.model}),
        (lambda model, n: note(model=model, n=n), {"model": NETWORK.model, "n": 5}),
    ],
    ids=["object", "method", "method of two", "partial", "partial by place", "plain", "lambda"],
)
def test_callables_of_every_kind_are_filled(measure: Measure, expected: dict[str, Any]) -> None:
    """Objects, methods, partial functions and lambdas."""
    got = call(measure)
    assert got.keys() == expected.keys()
    assert all(got[name] is value or got[name] == value for name, value in expected.items())


def test_builtins_get_the_network() -> None:
    """They say nothing of their arguments, or go by place."""
    assert as_measure(operator.attrgetter("n"))(NETWORK) == 5
    assert as_measure(id)(NETWORK) == id(NETWORK)
    assert as_measure(max) is max
    assert as_measure(torch.sum) is torch.sum


def test_measures_of_the_package_stay_as_they_are() -> None:
    """A stacked measure is no function to be filled."""
    assert as_measure(path_norm) is path_norm
    assert as_measure(path_norm.bound_form).__name__ == "path_norm.bound_form"


def test_a_filled_function_keeps_name_marks_and_words() -> None:
    """And filling it once more changes nothing."""
    filled = as_measure(oracle(published))
    try:
        assert measure_name(filled) == "published"
        assert filled.__doc__ == "See what published code asks for."
        assert is_oracle(filled)
        assert as_measure(filled) is filled
        assert call_form(filled) == (
            "model=model, init_model=initial_model, dataloader=dataloader, accuracy=accuracy, "
            "seed=seed"
        )
    finally:
        del vars(published)["is_oracle"]


# what cannot be told


def test_an_unknown_name_lists_what_is_known() -> None:
    """And says how to say it."""

    def mystery(model: Any, wibble: Any) -> float:
        return 1.0

    with pytest.raises(SettingsError) as error:
        as_measure(mystery)
    text = str(error.value)
    assert "measure mystery: cannot tell what to pass for 'wibble'" in text
    assert "adapt(mystery, wibble='inputs')" in text
    assert all(name in text for name in (*SOURCES, *SYNONYMS))


@in_turn(
    "measure", [lambda: 1.0, lambda model=None: 1.0, lambda **kwargs: 1.0], ids=["()", "=", "**"]
)
def test_a_function_that_needs_nothing_is_refused(measure: Measure) -> None:
    """It cannot be a measure of anything."""
    with pytest.raises(SettingsError, match="has no required argument: expected a function of one"):
        as_measure(measure)


def test_an_object_of_unknown_arguments_is_called_by_its_class() -> None:
    """It has no name of its own."""

    class Odd:
        def __call__(self, left: Any, right: Any) -> float:
            return 1.0

    with pytest.raises(SettingsError, match="measure Odd: cannot tell what to pass for 'left'"):
        as_measure(Odd())


# adapt


def test_adapt_fills_what_it_is_told() -> None:
    """Arguments whose names say nothing, beside one whose name does."""

    def measure(net: Any, x: Any, seed: int, size: int = 0) -> float:
        return note(net=net, x=x, seed=seed, size=size)

    got = call(adapt(measure, net="model", x="inputs"))
    assert got == {"net": NETWORK.model, "x": NETWORK.inputs, "seed": 0, "size": 0}
    assert got["net"] is NETWORK.model and got["x"] is NETWORK.inputs
    assert call(adapt(measure, net="model", x="inputs", size="n"))["size"] == 5
    assert call_form(adapt(measure, x="inputs", net="model")) == "net=model, x=inputs, seed=seed"


@in_turn("source", sorted(SOURCES))
def test_adapt_knows_every_source(source: str) -> None:
    """The same as by their names."""
    got = call(adapt(lambda x: note(x=x), x=source))["x"]
    if source == "dataloader":
        assert isinstance(got, DataLoader)
    else:
        expected = EXPECTED[source](NETWORK)
        assert got is expected or got == expected


def test_adapt_overrules_names_and_keeps_that_of_the_function() -> None:
    """What it is told goes before what a name says; any name may be told where any is taken."""
    got = call(adapt(of("model, dataloader"), model="network", dataloader="inputs"))
    assert got["model"] is NETWORK and got["dataloader"] is NETWORK.inputs

    def measure(model: Any, **kwargs: Any) -> float:
        return note(model=model, **kwargs)

    assert call(adapt(measure, extra="n")) == {"model": NETWORK.model, "extra": 5}
    assert measure_name(adapt(published)) == "published"


@in_turn("measure", [Callable2(1.0), functools.partial(of("model"))])
def test_adapt_gives_no_name_to_what_has_none(measure: Measure) -> None:
    """An object or a partial function still needs ``name='...'``."""
    with pytest.raises(SettingsError, match="give it one with name"):
        measure_name(adapt(measure, model="model"))


@in_turn(
    ("measure", "arguments", "text"),
    [
        (of("model"), {"model": "weights"}, f"adapt: 'weights' is none of {', '.join(SOURCES)}"),
        (published, {"net": "model"}, "published takes no argument 'net'; it takes model, init_"),
        (lambda x, y: 1.0, {"x": "inputs"}, "cannot tell what to pass for 'y'"),
        # an error of the package's own, and not Python's
        (torch.sum, {"input": "inputs"}, "adapt: sum does not say which arguments it takes"),
    ],
)
def test_adapt_refuses_what_it_cannot_fill(
    measure: Measure, arguments: dict[str, str], text: str
) -> None:
    """It lists what there is."""
    with pytest.raises(SettingsError) as error:
        adapt(measure, **arguments)
    assert text in str(error.value)


# the loader


@in_turn("n", [1, 255, 256, 257, 600])
def test_the_loader_gives_every_training_sample_in_order(n: int) -> None:
    """In batches of at most 256, the same each time it is gone through."""
    network = network_of(n)
    loader = call(of("model, dataloader"), network)["dataloader"]
    for _ in range(2):
        batches = list(loader)
        assert [len(labels) for _, labels in batches] == [256] * (n // 256) + [n % 256] * (
            n % 256 > 0
        )
        assert torch.equal(torch.cat([inputs for inputs, _ in batches]), network.inputs)
        assert torch.equal(torch.cat([labels for _, labels in batches]), network.labels)
    assert len(loader.dataset) == n and loader.batch_size == 256


def test_the_loader_does_not_touch_global_randomness() -> None:
    """Nor the network's own `rng`, and what it says of randomness is the network's."""
    network = network_of(300)
    around = (torch.random.get_rng_state(), random.getstate(), network.rng.get_state())
    loader = call(of("model, dataloader"), network)["dataloader"]
    for _ in range(3):
        for _ in loader:
            pass
    assert torch.equal(torch.random.get_rng_state(), around[0])
    assert random.getstate() == around[1]
    assert torch.equal(network.rng.get_state(), around[2])
    again = call(of("model, dataloader"), network)["dataloader"]
    other = call(of("model, dataloader"), network_of(300, seed=1))["dataloader"]
    seeds = [each.generator.initial_seed() for each in (loader, again, other)]
    assert seeds[0] == seeds[1] != seeds[2]


def test_what_a_measure_does_to_a_batch_harms_nobody() -> None:
    """Batches are copies of the samples."""
    network = network_of(4)
    before = network.inputs.clone()
    for inputs, labels in call(of("model, loader"), network)["loader"]:
        inputs.zero_()
        labels.zero_()
    assert torch.equal(network.inputs, before)


# audits


def mean_loss(model: nn.Module, dataloader: Any) -> float:
    """Return the mean cross-entropy, batch by batch."""
    total = 0.0
    with torch.no_grad():
        for inputs, labels in dataloader:
            total += float(nn.functional.cross_entropy(model(inputs), labels, reduction="sum"))
    return total / len(dataloader.dataset)


def test_functions_of_other_arguments_are_evaluated(small_family: Family) -> None:
    """On every network of the family; the train loss is that of the record."""
    values = evaluate(mean_loss, "mean_loss", small_family, "adam")
    expected = [
        [small_family.trained_run("adam", n, seed).record.train_loss for seed in (0, 1, 2)]
        for n in (16, 32, 64)
    ]
    np.testing.assert_allclose(values, expected, rtol=1e-5)


@in_turn(
    ("measure", "expected"),
    [
        (lambda model, n: n, [[16] * 3, [32] * 3, [64] * 3]),
        (lambda model, seed: seed + 1, [[1, 2, 3]] * 3),
    ],
)
def test_values_belong_to_their_runs(
    measure: Measure, expected: list[list[int]], small_family: Family
) -> None:
    """Rows are sizes, columns seeds."""
    values = evaluate(measure, "ruler", small_family, "adam")
    np.testing.assert_array_equal(values, expected)


def test_errors_say_how_the_measure_was_called(small_family: Family) -> None:
    """In an exception, in a wrong value, and in a change of what only may be read."""

    def raising(model: Any, dataloader: Any) -> float:
        raise ValueError("no measure today")

    def changing(model: nn.Module, init_model: nn.Module) -> float:
        model.train()
        return 1.0

    def zero(model: nn.Module) -> float:
        return 0.0

    def with_net(net: Any, x: Any) -> float:
        return float("nan")

    for measure, form, text in (
        (raising, "model=model, dataloader=dataloader", "raised ValueError: no measure today"),
        (changing, "model=model, init_model=initial_model", "changed the network"),
        (zero, "model=model", "returned 0, which has no logarithm"),
        (adapt(with_net, net="model", x="inputs"), "net=model, x=inputs", "returned nan"),
    ):
        with pytest.raises(MeasureError) as error:
            evaluate(measure, "ruler", small_family, "adam")
        assert f"n=16, seed 0, called with {form}: {text}" in str(error.value)
        assert "measure ruler on task blobs, recipe adam (" in str(error.value)
    with pytest.raises(MeasureError) as error:
        evaluate(lambda network: 0.0, "ruler", small_family, "adam")
    assert "called with" not in str(error.value)


def test_a_filled_oracle_sees_test_data(small_family: Family) -> None:
    """Through the network, beside other arguments."""

    def cheat(network: Any, n: int) -> float:
        assert isinstance(network, OracleNetwork) and network.n == n
        return network.test_record.test_error

    values = evaluate(oracle(cheat), "cheat", small_family, "adam")
    assert values[2, 1] == small_family.trained_run("adam", 64, 1).record.test_error


PUBLISHED = """
import torch

def get_measure(model, init_model, dataloader, acc, seed):
    assert isinstance(model, torch.nn.Module) and isinstance(init_model, torch.nn.Module)
    assert 0 <= acc <= 1 and seed in (0, 1, 2)
    assert sum(len(labels) for _, labels in dataloader) == len(dataloader.dataset)
    moved = sum(
        float((new - old).detach().square().sum())
        for new, old in zip(model.parameters(), init_model.parameters())
    )
    assert moved > 0
    return FORMULA
"""


def test_a_published_measure_is_audited(project: Project) -> None:
    """Marked as it is, every check runs; one that falls with n is kept."""
    project.write(PUBLISHED.replace("FORMULA", "1 / len(dataloader.dataset)"), "published")
    project.path.joinpath("test_audit.py").write_text(
        "from audits import *\nfrom published import get_measure\n"
        "@pytest.mark.fragility(get_measure, **SMALL)\ndef test_audit(check):\n    check()\n"
    )
    result = project.run("--fragility", "-v")
    result.assert_outcomes(passed=len(ALL_CHECKS))
    result.stdout.fnmatch_lines([f"test_audit.py::test_audit[[]{c}[]] PASSED*" for c in CHECKS])
    result.stdout.fnmatch_lines(["get_measure on blobs: kept"])


def test_a_published_measure_that_fails_says_how_it_was_called(project: Project) -> None:
    """The run and the arguments, as the plugin prints them."""
    project.write(
        PUBLISHED.replace("FORMULA", "0.0")
        + "@pytest.mark.fragility(get_measure, **SMALL)\ndef test_audit(check):\n    check()\n"
    )
    result = project.run("--fragility", "-k", "trend-baseline")
    result.assert_outcomes(failed=1, deselected=len(ALL_CHECKS) - 1)
    text = result.stdout.str()
    assert "called with model=model, init_model=initial_model, dataloader=dataloader" in text
    assert "acc=accuracy, seed=seed: returned 0, which has no logarithm" in text


def test_a_marked_function_whose_arguments_say_nothing_ends_collection(project: Project) -> None:
    """Before anything is trained."""
    project.write("def unclear(model, wibble): return 1.0\n")
    with (project.path / "test_audit.py").open("a") as file:
        file.write("@pytest.mark.fragility(unclear, **SMALL)\ndef test_audit(check): check()\n")
    result = project.run("--fragility")
    result.assert_outcomes(errors=1)
    assert "cannot tell what to pass for 'wibble'" in result.stdout.str()
    assert not project.stored()
