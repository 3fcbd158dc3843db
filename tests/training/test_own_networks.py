"""What is trained and measured is the user's network, whatever it looks like."""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy
from functools import cache
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from pytest_fragility import measures
from pytest_fragility.errors import TrainingError, UndefinedMeasureError
from pytest_fragility.measures.common import outputs
from pytest_fragility.networks.attachments import attached_to
from pytest_fragility.networks.runs import Run, TrainedRun
from pytest_fragility.networks.stacks import NetworkStack
from pytest_fragility.networks.tracing import relu_chain
from pytest_fragility.networks.trained_network import TrainedNetwork
from pytest_fragility.recipes import CNN, MLP, SGD, Adam, Factory, Recipe, fixed_steps
from pytest_fragility.symmetries import SYMMETRIES, in_double
from pytest_fragility.training import stacked_forms as stacking
from pytest_fragility.training.convolution_stacks import (
    ConvolutionalNetwork,
    convolutional_structure,
)
from pytest_fragility.training.one_by_one import OneAtATime
from pytest_fragility.training.perceptron_stacks import Layer, Perceptron, as_perceptron
from pytest_fragility.training.stacked_forms import (
    OneAtATimeWarning,
    SlowerFormWarning,
    stacked_form,
)
from pytest_fragility.training.trainer import train
from pytest_fragility.training.vmapped import MappedNetwork
from tests.attached_networks import ATTACHED, FORWARD, convolutional, perceptron
from tests.reference_training import CPU, assert_like_alone, train_all, train_alone
from tests.training.test_architectures import IMAGES

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated"),
    pytest.mark.filterwarnings("ignore:Full backward hook is firing"),
]


def trained(architecture: Any, seeds: int = 2, **fields: Any) -> list[TrainedRun]:
    """Return trained runs, in the order of seeds."""
    recipe = Recipe(
        **{"architecture": architecture, "batch_size": 8, "stopping": fixed_steps(25), **fields}
    )
    return train_all([Run(IMAGES, 20, recipe, seed) for seed in range(seeds)])


@cache
def attached(name: str) -> list[TrainedRun]:
    """Return two trained runs of such a network."""
    return trained(ATTACHED[name], optimizer=Adam(lr=0.01))


def assert_trained_alike(architecture: Any) -> None:
    """Compare with a loop over torch.optim: weights, buffers and what is said of the loss."""
    for one in trained(architecture, optimizer=SGD(lr=0.05, momentum=0.9), precision="float64"):
        network = assert_like_alone(one)
        seen = TrainedNetwork.build(one, "baseline", CPU)
        assert seen.dtype == torch.float64
        loss = functional.cross_entropy(network.eval()(seen.inputs), seen.labels)
        assert one.record.train_loss == pytest.approx(loss.item(), rel=1e-9)


@pytest.mark.parametrize("name", ATTACHED)
def test_it_is_trained_and_measured_as_the_module_computes(name: str) -> None:
    """To 1e-10 of a plain loop; losses, margins and gradients are those of each module alone."""
    assert_trained_alike(ATTACHED[name])
    runs = attached(name)
    stack = NetworkStack.of_runs(runs, CPU, {})
    logits = outputs.train_logits(stack)
    for place, one in enumerate(runs):
        network = TrainedNetwork.build(one, "baseline", CPU)
        with torch.no_grad():
            expected = network.model.double()(network.inputs.double())
        torch.testing.assert_close(logits[place], expected, rtol=1e-6, atol=1e-6)
        assert float(measures.train_loss(network)) == pytest.approx(
            float(functional.cross_entropy(expected, network.labels)), rel=1e-5
        )


def test_measures_of_its_layers_are_its_own_or_say_why_not() -> None:
    """A measure that reads layers has a value for this very function, or is not defined."""
    for name in FORWARD:
        network = TrainedNetwork.build(attached(name)[0], "baseline", CPU)
        of_layers = ("parameter_norm", "path_norm", "path_norm_bound", "product_of_spectral_norms")
        of_functions = ("train_loss", "hessian_trace", "gradient_norm")
        for measure in (*of_layers, *of_functions):
            try:
                value = float(getattr(measures, measure)(network))
            except UndefinedMeasureError as error:
                assert measure in of_layers or "second derivatives" in str(error)  # noqa: PT017
            else:
                assert math.isfinite(value)


def test_a_refusal_says_what_is_attached() -> None:
    """By the module's place and type."""
    for name, reason in [
        ("pruned", r"layer 1 \(Linear\) has a forward pre-hook \(RandomUnstructured\)"),
        ("spectral norm", r"layer 1 \(Linear\) has a forward pre-hook \(SpectralNorm\)"),
        ("weight norm", r"layer 1 \(Linear\) has a forward pre-hook \(WeightNorm\)"),
        ("weight norm without bias", r"layer 1 \(Linear\) has a forward pre-hook \(WeightNorm\)"),
        ("parametrized", r"layer 1 \(ParametrizedLinear\) has a parametrization of weight"),
        ("orthogonal", r"layer 1 \(ParametrizedLinear\) has a parametrization of weight"),
        ("forward hook", r"layer 1 \(Linear\) has a forward hook \(square\)"),
        ("forward hook on a relu", r"layer 2 \(ReLU\), which has a forward hook \(square\)"),
        ("forward hook on the network", r"Sequential has a forward hook \(square\)"),
        ("own forward of a layer", r"layer 1 \(Linear\) has a method forward of its own"),
        ("own forward of a relu", r"layer 2 \(ReLU\), which has a method forward of its own"),
        ("own forward", "Sequential has a method forward of its own"),
    ]:
        network = TrainedNetwork.build(attached(name)[0], "baseline", CPU)
        with pytest.raises(UndefinedMeasureError, match=reason):
            measures.path_norm(network)


def test_symmetries_leave_its_function_as_it_is() -> None:
    """Each applies and holds, or does not apply."""
    for name in [each for each in ATTACHED if "own forward" not in each]:
        network = in_double(TrainedNetwork.build(attached(name)[0], "b", CPU))
        for symmetry in SYMMETRIES.values():
            symmetry(network)


def test_a_network_that_cannot_be_copied_is_named() -> None:
    """Its function would stay the original's, whatever became of the copy's weights."""
    one = attached("own forward of a layer")[0]
    with pytest.raises(UndefinedMeasureError, match=r"the forward of layer 1 \(Linear\) holds on"):
        in_double(TrainedNetwork.build(one, "baseline", CPU))


def test_a_weight_that_torch_computes_belongs_to_the_trained_network() -> None:
    """Also before a first pass through the network."""
    for name in ["pruned", "spectral norm", "weight norm"]:
        network = TrainedNetwork.build(attached(name)[0], "baseline", CPU)
        before = network.model.get_submodule("1").weight.clone()
        network.model(network.inputs)
        assert torch.equal(before, network.model.get_submodule("1").weight)


def test_plain_networks_take_the_fast_forms() -> None:
    """Without a word."""
    for architecture, kind in (
        (MLP(hidden=(8,)), "perceptron"),
        (Factory(perceptron), "perceptron"),
        (CNN(channels=(3,)), "convolutional"),
        (Factory(convolutional), "convolutional"),
    ):
        form = stacked_form(Recipe(architecture=architecture), IMAGES.data)
        assert (form.kind, form.reason) == (kind, "")


def test_what_has_something_attached_takes_no_fast_form() -> None:
    """Nor has it a chain of layers, where its forward pass is changed."""
    for name in ATTACHED:
        network = ATTACHED[name].make((1, 4, 4), 4)
        assert as_perceptron(network) is None
        assert convolutional_structure(network, (1, 4, 4)) is None
        # what a class does when it is called, no trace shows
        if name in FORWARD and name != "own call":
            assert relu_chain(network) is None


def test_a_hook_for_all_modules_is_attached_to_each() -> None:
    """Torch has such hooks too."""
    handle = nn.modules.module.register_module_forward_hook(lambda *_: None)
    try:
        assert attached_to(nn.ReLU())
    finally:
        handle.remove()
    assert not attached_to(nn.ReLU())


def mistaken_perceptron(network: nn.Module, **settings: Any) -> Perceptron | None:
    """Take a network for a perceptron without its last ReLU."""
    found = as_perceptron(network, **settings)
    layers = [Layer(has_bias=True, has_relu=False)] * 2
    return found and Perceptron(layers)


class MistakenMap(MappedNetwork):
    """Has other logits than its networks."""

    def logits(self, *args: Any) -> torch.Tensor:
        """Return half of them."""
        return super().logits(*args) / 2


class MistakenConvolution(ConvolutionalNetwork):
    """Loses gradients."""

    def bind(self, weights: Any, sinks: Any, scale: Any, carried: Any) -> Any:
        """Return losses without gradients."""
        return super().bind(weights, sinks, scale * 0.5, carried)


class MistakenAlone(OneAtATime):
    """Forgets buffers."""

    def bind(self, weights: Any, sinks: Any, scale: Any, carried: Any) -> Any:
        """Return losses that leave counters where they are."""
        losses = super().bind(weights, sinks, scale, carried)

        def forgetting(inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            found = losses(inputs, labels)
            for tensor in carried.tensors.values():
                tensor.zero_()
            return found

        return forgetting


def normalized() -> nn.Module:
    """Return a perceptron with batch normalization."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(16, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4)
    )


@pytest.fixture
def forget_forms() -> Any:
    """Have forms found anew before and after a test that changes how they are found."""
    stacking._examine.cache_clear()
    yield
    stacking._examine.cache_clear()


@pytest.mark.usefixtures("forget_forms")
@pytest.mark.parametrize(
    ("build", "attribute", "mistaken", "kind", "reason"),
    [
        (perceptron, "as_perceptron", mistaken_perceptron, "mapped", "written out as a perceptron"),
        (
            convolutional,
            "ConvolutionalNetwork",
            MistakenConvolution,
            "mapped",
            "written out as convolutions",
        ),
        (normalized, "MappedNetwork", MistakenMap, "one at a time", "many networks at once"),
    ],
)
def test_a_form_that_computes_something_else_is_not_taken(
    monkeypatch: pytest.MonkeyPatch,
    build: Callable[[], nn.Module],
    attribute: str,
    mistaken: Any,
    kind: str,
    reason: str,
) -> None:
    """Whoever recognized it: the next form is taken, with a warning that names the module."""
    monkeypatch.setattr(stacking, attribute, mistaken)
    recipe = Recipe(architecture=Factory(build), batch_size=8, stopping=fixed_steps(5))
    assert stacked_form(recipe, IMAGES.data).kind == kind
    warning = OneAtATimeWarning if kind == "one at a time" else SlowerFormWarning
    with pytest.warns(warning, match=rf"{build.__name__} .*Sequential.*{reason}") as caught:
        (found,) = (one for batch in train([Run(IMAGES, 20, recipe, 0)], CPU) for one in batch)
    assert len(caught) == 1
    network, _ = train_alone(found.run, steps=5)
    expected = dict(network.named_parameters())
    for name, weight in found.weights.items():
        torch.testing.assert_close(weight, expected[name].detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("forget_forms")
def test_where_no_form_computes_the_same_nothing_is_trained(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An error, since whatever came out would be another network's."""
    monkeypatch.setattr(stacking, "MappedNetwork", MistakenMap)
    monkeypatch.setattr(stacking, "OneAtATime", MistakenAlone)
    with pytest.raises(TrainingError, match="normalized cannot be trained: its network"):
        trained(Factory(normalized))


class Counting(nn.Module):
    """Gets colder with every pass."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(16, 4)
        self.passes = 0

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map inputs to outputs."""
        self.passes += 1
        outputs: torch.Tensor = self.layer(inputs.flatten(1))
        return outputs * self.passes


class OwnNoise(nn.Module):
    """Draws from a generator of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(16, 4)
        self.generator = torch.Generator().manual_seed(0)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map inputs to outputs."""
        flat = inputs.flatten(1)
        if self.training:
            flat = flat + torch.randn(16, generator=self.generator)
        outputs: torch.Tensor = self.layer(flat)
        return outputs


def test_state_beside_parameters_and_buffers_is_refused() -> None:
    """Networks that are trained beside each other would share it."""
    for build in [Counting, OwnNoise]:
        with pytest.raises(
            TrainingError, match=rf"{build.__name__} cannot be .*Register such state"
        ):
            trained(Factory(build))


class ComputedAgain(nn.Module):
    """Keeps nothing for its backward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = perceptron()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map inputs to outputs."""
        outputs: torch.Tensor = checkpoint(self.inner, inputs, use_reentrant=False)
        return outputs


def test_what_is_computed_again_for_the_backward_pass_is_the_same_network() -> None:
    """In training; measures that cannot see to it refuse."""
    (one,) = trained(Factory(ComputedAgain), seeds=1, precision="float64")
    plain, _ = train_alone(one.run, steps=25)
    for name, parameter in plain.named_parameters():
        torch.testing.assert_close(one.weights[name], parameter.detach(), rtol=1e-10, atol=1e-10)
    network = TrainedNetwork.build(one, "baseline", CPU)
    assert float(measures.train_loss(network)) == pytest.approx(one.record.train_loss, rel=1e-6)
    with pytest.raises(UndefinedMeasureError, match="computes parts again for its backward pass"):
        measures.gradient_norm(network)


class WithoutGradient(nn.Module):
    """Learns its last layer alone, although all of its parameters are trained."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(16, 8), nn.Linear(8, 4)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map inputs to outputs."""
        with torch.no_grad():
            hidden = self.first(inputs.flatten(1)).relu()
        outputs: torch.Tensor = self.last(hidden)
        return outputs


def test_derivatives_are_those_that_the_module_lets_through() -> None:
    """A trace shows the layers of a perceptron, and not where gradients end."""
    network = TrainedNetwork.build(trained(Factory(WithoutGradient), seeds=1)[0], "baseline", CPU)
    assert relu_chain(network.model) == ["first", "last"]
    assert outputs.relu_chain_of(NetworkStack.of_network(network)) is None
    model = deepcopy(network.model).double()
    loss = functional.cross_entropy(model(network.inputs.double()), network.labels)
    slopes = torch.autograd.grad(loss, list(model.parameters()), materialize_grads=True)
    expected = sum(float(each.square().sum()) for each in slopes) ** 0.5
    assert float(measures.gradient_norm(network)) == pytest.approx(expected, rel=1e-5)


def test_measures_take_no_form_that_computes_something_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They compare once for every structure, whoever recognized it."""
    one = trained(Factory(perceptron), seeds=1)[0]
    network = TrainedNetwork.build(one, "baseline", CPU)
    expected = float(measures.train_loss(network))
    assert outputs.relu_chain_of(NetworkStack.of_network(network)) == ["1", "3"]
    monkeypatch.setattr(outputs, "as_perceptron", mistaken_perceptron)
    monkeypatch.setattr(outputs, "relu_chain", lambda _: ["1"])
    stack = NetworkStack.of_network(network)
    assert outputs.perceptron_of(stack) is None
    assert outputs.relu_chain_of(stack) is None
    assert float(measures.train_loss(network)) == pytest.approx(expected, rel=1e-12)


class NamedLikeMethods(nn.Module):
    """Modules with the names of tensors' methods, which do something else."""

    def __init__(self) -> None:
        super().__init__()
        self.flatten = nn.Flatten()
        self.first = nn.Linear(16, 8)
        self.relu = nn.Tanh()
        self.last = nn.Linear(8, 4)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map inputs to outputs."""
        outputs: torch.Tensor = self.last(self.relu(self.first(self.flatten(inputs))))
        return outputs


def test_a_module_called_relu_need_not_be_one() -> None:
    """Nor does it make a network one of ReLU, which can be rescaled."""
    one = trained(Factory(NamedLikeMethods), seeds=1)[0]
    network = TrainedNetwork.build(one, "baseline", CPU)
    assert relu_chain(network.model) is None
    for symmetry in ("neuron-rescaling", "layer-rescaling", "dead-neurons"):
        assert SYMMETRIES[symmetry](in_double(network)) is None
    with pytest.raises(UndefinedMeasureError, match=r"layer relu \(Tanh\)"):
        measures.path_norm(network)
