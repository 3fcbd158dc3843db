"""Weight layers: told by their type, with batch normalization folded in where that is right."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pytest_fragility.errors import UndefinedMeasureError
from pytest_fragility.measures import parameter_norm, spectral_distance_from_initialization
from pytest_fragility.measures.common.folding import folded_parameters, weight_matrices
from pytest_fragility.networks.stacks import NetworkStack
from pytest_fragility.networks.weight_layers import find_weight_layers
from tests.sample_networks import labelled_by, randomize, sample_network


def images(*shape: int) -> torch.Tensor:
    """Return random inputs."""
    return torch.from_numpy(np.random.default_rng(0).normal(size=shape))


def random_model(model: nn.Module, seed: int = 0) -> nn.Module:
    """Return a model in eval mode with random parameters and statistics, in float64."""
    return randomize(model.double(), seed).eval()


def stack_of_one(
    model: nn.Module, inputs: torch.Tensor, *, initial_model: nn.Module | None = None
) -> NetworkStack:
    """Return a stack of one network that labels its own samples."""
    labels = labelled_by(model, inputs)
    return NetworkStack.of_network(
        sample_network(model, inputs, labels, initial_model=initial_model)
    )


def names_of(model: nn.Module) -> list[str]:
    """Return the paths of a model's weight layers."""
    return [layer.name for layer in find_weight_layers(model)]


def reason_against(model: nn.Module) -> str:
    """Return why a model's weight layers are refused."""
    with pytest.raises(UndefinedMeasureError) as error:
        find_weight_layers(model)
    return str(error.value)


def rebuilt(stack: NetworkStack, *, initial: bool = False) -> nn.Module:
    """Return the network with folded weights and biases and no normalization any more."""
    model = copy.deepcopy(stack.structure)
    layers = find_weight_layers(model)
    parameters = folded_parameters(stack, initial=initial)
    for layer, (weight, bias) in zip(layers, parameters, strict=True):
        layer.module.weight = nn.Parameter(weight[0])
        layer.module.bias = None if bias is None else nn.Parameter(bias[0])
        if layer.normalization is not None:
            path, _, last = layer.normalization[0].rpartition(".")
            setattr(model.get_submodule(path), last, nn.Identity())
    assert not any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules())
    return model


class Residual(nn.Module):
    """Two normalized convolutions and a shortcut with a third, registered out of order."""

    def __init__(self) -> None:
        super().__init__()
        self.bn2 = nn.BatchNorm2d(4)
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.shortcut = nn.Sequential(nn.Conv2d(2, 4, 1, stride=2, bias=False), nn.BatchNorm2d(4))
        self.conv1 = nn.Conv2d(2, 4, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(4)
        self.classify = nn.Linear(4, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Add both ways, and pool."""
        hidden = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(inputs)))))
        hidden = torch.relu(hidden + self.shortcut(inputs))
        outputs: torch.Tensor = self.classify(hidden.mean(dim=(2, 3)))
        return outputs


def with_shared_scale() -> nn.Module:
    """Return two normalizations of one scale: torch lists it once, under its first name."""
    layers = [nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 4), nn.BatchNorm1d(4)]
    layers[4].weight = layers[1].weight
    return nn.Sequential(*layers)


FOLDABLE: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (
        lambda: nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3)),
        (4,),
    ),
    "linear without bias": (
        lambda: nn.Sequential(nn.Linear(4, 5, bias=False), nn.BatchNorm1d(5), nn.Linear(5, 3)),
        (4,),
    ),
    "last layer": (lambda: nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)), (4,)),
    "single layer": (lambda: nn.Linear(4, 3), (4,)),
    "shared scale": (with_shared_scale, (4,)),
    "not affine": (
        lambda: nn.Sequential(
            nn.Linear(4, 5, bias=False), nn.BatchNorm1d(5, affine=False), nn.Linear(5, 3)
        ),
        (4,),
    ),
    "large epsilon": (
        lambda: nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5, eps=0.7), nn.Linear(5, 3)),
        (4,),
    ),
    "convolutions": (
        lambda: nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1, bias=False),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Conv2d(4, 6, 3, stride=2, groups=2, padding_mode="circular", padding=1),
            nn.BatchNorm2d(6, affine=False, eps=1e-2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(6 * 3 * 3, 3),
        ),
        (2, 6, 5),
    ),
    "sequences": (
        lambda: nn.Sequential(
            nn.Conv1d(2, 3, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 3)
        ),
        (2, 6),
    ),
    "volumes": (
        lambda: nn.Sequential(nn.Conv3d(1, 3, 2), nn.BatchNorm3d(3), nn.Flatten()),
        (1, 3, 2, 2),
    ),
    "nested": (
        lambda: nn.Sequential(
            nn.Sequential(
                nn.Sequential(nn.Conv2d(2, 3, 2)), nn.Sequential(nn.BatchNorm2d(3), nn.ReLU())
            ),
            nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(12, 3), nn.BatchNorm1d(3))),
        ),
        (2, 3, 3),
    ),
    "residual": (Residual, (2, 6, 6)),
    "nested residual": (lambda: nn.Sequential(Residual(), nn.ReLU(), nn.Linear(3, 2)), (2, 6, 6)),
}


@settings(deadline=None, max_examples=40, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), name=st.sampled_from(list(FOLDABLE)))
def test_a_folded_network_computes_the_same(seed: int, name: str) -> None:
    """Without its normalization, but with folded weights and biases, trained and initial."""
    build, shape = FOLDABLE[name]
    model, initial = random_model(build(), seed), random_model(build(), seed + 1)
    stack = stack_of_one(model, images(5, *shape), initial_model=initial)
    with torch.no_grad():
        for whole, is_initial in ((model, False), (initial, True)):
            outputs = rebuilt(stack, initial=is_initial)(stack.inputs[0])
            torch.testing.assert_close(outputs, whole(stack.inputs[0]), rtol=1e-10, atol=1e-10)


def test_folding_leaves_the_network_as_it_is() -> None:
    """Nothing is written to the model or to the stack."""
    for build, shape in FOLDABLE.values():
        model = random_model(build())
        before = {name: part.clone() for name, part in model.state_dict().items()}
        stack = stack_of_one(model, images(3, *shape))
        folded_parameters(stack)
        assert all(torch.equal(part, before[name]) for name, part in model.state_dict().items())
        parts = [*stack.weights.items(), *stack.buffers.items()]
        assert all(torch.equal(part[0], before[name]) for name, part in parts)


def test_folding_is_done_in_double_precision() -> None:
    """From float32 parameters and statistics; shapes have the network in front."""
    build, shape = FOLDABLE["convolutions"]
    model = randomize(build(), 0).eval()
    stack = stack_of_one(model, images(3, *shape).float())
    for weight, bias in folded_parameters(stack):
        assert weight.dtype == torch.float64 and weight.shape[0] == 1
        assert bias is not None and bias.dtype == torch.float64
        assert bias.shape == weight.shape[:2]
    widened = copy.deepcopy(model).double()
    with torch.no_grad():
        outputs = rebuilt(stack)(images(3, *shape))
        torch.testing.assert_close(outputs, widened(images(3, *shape)), rtol=1e-10, atol=1e-10)


def test_folding_can_be_done_by_hand() -> None:
    """A gain of 6 over the root of 8.5 + 0.5, so 2, on weight 5 and on bias 7 minus mean 1."""
    model = nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1, eps=0.5))
    linear, norm = model
    assert isinstance(norm, nn.BatchNorm1d) and norm.running_mean is not None
    assert isinstance(linear, nn.Linear) and norm.running_var is not None
    with torch.no_grad():
        linear.weight.fill_(5)
        linear.bias.fill_(7)
        norm.running_mean.fill_(1)
        norm.running_var.fill_(8.5)
        norm.weight.fill_(6)
        norm.bias.fill_(3)
    ((weight, bias),) = folded_parameters(stack_of_one(model, torch.zeros(2, 1)))
    assert weight.tolist() == [[[pytest.approx(10)]]]
    assert bias is not None and bias.tolist() == [[pytest.approx(15)]]


def test_layers_without_normalization_keep_weights_and_biases() -> None:
    """Bit by bit; a layer without bias has none."""
    model = random_model(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2, bias=False)))
    first, second = folded_parameters(stack_of_one(model, images(4, 3)))
    state = model.state_dict()
    assert torch.equal(first[0][0], state["0.weight"])
    assert first[1] is not None and torch.equal(first[1][0], state["0.bias"])
    assert torch.equal(second[0][0], state["2.weight"])
    assert second[1] is None


def test_measures_read_folded_weights() -> None:
    """Norms with the trained statistics, distances with the initial ones as well."""
    build, shape = FOLDABLE["residual"]
    model, initial = random_model(build(), 0), random_model(build(), 1)
    inputs = images(12, *shape)
    network = sample_network(model, inputs, labelled_by(model, inputs), initial_model=initial)
    stack = NetworkStack.of_network(network)
    trained = [weight[0].flatten(1).numpy() for weight, _ in folded_parameters(stack)]
    begun = [weight[0].flatten(1).numpy() for weight, _ in folded_parameters(stack, initial=True)]
    norm = sum(float((weight**2).sum()) for weight in trained)
    assert parameter_norm(network) == pytest.approx(norm, rel=1e-12)
    distance = sum(
        float(np.linalg.norm(a - b, ord=2)) ** 2 for a, b in zip(trained, begun, strict=True)
    )
    assert spectral_distance_from_initialization(network) == pytest.approx(distance, rel=1e-12)


class OddNames(nn.Module):
    """Layers whose names say something else than what they are."""

    def __init__(self) -> None:
        super().__init__()
        self.subnet = nn.Conv2d(1, 2, 3)
        self.bnlayer = nn.Linear(8, 6)
        self.norm = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5))
        self.conv = nn.ReLU()
        self.bias = nn.Linear(5, 3, bias=False)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Apply one after the other."""
        hidden = self.bnlayer(self.subnet(inputs).flatten(1))
        outputs: torch.Tensor = self.bias(self.conv(self.norm(hidden)))
        return outputs


def test_layers_are_told_by_their_type_and_not_by_their_name() -> None:
    """A convolution called subnet, a linear layer called bias, a normalization called 1."""
    model = random_model(OddNames())
    layers = find_weight_layers(model)
    assert [layer.name for layer in layers] == ["subnet", "bnlayer", "norm.0", "bias"]
    assert [layer.is_convolution for layer in layers] == [True, False, False, False]
    folded = [layer.normalization for layer in layers]
    assert folded == [None, None, ("norm.1", 1e-5), None]
    stack = stack_of_one(model, images(4, 1, 4, 4))
    shapes = [tuple(matrix.shape) for matrix in weight_matrices(stack)]
    assert shapes == [(1, 2, 9), (1, 6, 8), (1, 5, 6), (1, 3, 5)]
    with torch.no_grad():
        torch.testing.assert_close(
            rebuilt(stack)(stack.inputs[0]), model(stack.inputs[0]), rtol=1e-10, atol=1e-10
        )


class Module(nn.Module):
    """A module with layers of any names and the forward pass of a function."""

    def __init__(
        self, forward: Callable[[Module, torch.Tensor], torch.Tensor], **layers: nn.Module
    ) -> None:
        super().__init__()
        self._call = forward
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Call the function."""
        return self._call(self, inputs)

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return what the function returns."""
        outputs: torch.Tensor = super().__call__(inputs)
        return outputs

    def apply_layer(self, name: str, inputs: torch.Tensor) -> torch.Tensor:
        """Apply one layer."""
        outputs: torch.Tensor = self.get_submodule(name)(inputs)
        return outputs


def steps(*names: str) -> Callable[[Module, torch.Tensor], torch.Tensor]:
    """Return a forward pass that applies layers one after the other."""

    def forward(module: Module, inputs: torch.Tensor) -> torch.Tensor:
        for name in names:
            inputs = module.apply_layer(name, inputs)
        return inputs

    return forward


def add_then_normalize(module: Module, inputs: torch.Tensor) -> torch.Tensor:
    """Normalize the sum of a layer's input and output."""
    return module.apply_layer("bn", module.apply_layer("conv", inputs) + inputs)


def use_raw_output_too(module: Module, inputs: torch.Tensor) -> torch.Tensor:
    """Add the normalized output of a layer to its own output."""
    hidden = module.apply_layer("conv", inputs)
    return module.apply_layer("bn", hidden) + hidden


NOT_FOLDABLE: dict[str, tuple[nn.Module, str]] = {
    "normalization first": (nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2)), "0"),
    "behind a rectifier": (
        nn.Sequential(nn.Conv2d(2, 2, 1), nn.ReLU(), nn.BatchNorm2d(2), nn.ReLU()),
        "2",
    ),
    "twice normalized": (
        nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.BatchNorm1d(2)),
        "2",
    ),
    "pooled before": (
        nn.Sequential(nn.Conv2d(2, 2, 1), nn.AvgPool2d(2), nn.BatchNorm2d(2)),
        "2",
    ),
    "after an addition": (
        Module(add_then_normalize, conv=nn.Conv2d(2, 2, 1), bn=nn.BatchNorm2d(2)),
        "bn",
    ),
    "output used twice": (
        Module(use_raw_output_too, conv=nn.Conv2d(2, 2, 1), bn=nn.BatchNorm2d(2)),
        "bn",
    ),
    "layer used twice": (
        Module(steps("conv", "conv", "bn"), conv=nn.Conv2d(2, 2, 1), bn=nn.BatchNorm2d(2)),
        "bn",
    ),
}


class Doubled(nn.Linear):
    """A linear layer that may compute anything."""


class Standardized(nn.Conv2d):
    """A convolution that may, too."""


def with_token() -> Module:
    """Return a network with a parameter of its own, such as a class token."""
    model = Module(steps("last"), last=nn.Linear(3, 2))
    model.register_parameter("token", nn.Parameter(torch.zeros(3)))
    return model


def between(module: nn.Module) -> nn.Module:
    """Return a network with a module between two linear layers."""
    return nn.Sequential(nn.Linear(3, 4), module, nn.Linear(4, 2))


OF_A_SAMPLE = [
    nn.LayerNorm(4),
    nn.LayerNorm(4, elementwise_affine=False),
    nn.GroupNorm(2, 4),
    nn.InstanceNorm1d(4),
    nn.InstanceNorm3d(4, affine=True, track_running_stats=True),
    nn.RMSNorm(4, elementwise_affine=False),
    nn.LocalResponseNorm(2),
]
OF_ANOTHER_KIND = {
    "weight": nn.Embedding(5, 4),
    "in_proj_weight, in_proj_bias": nn.MultiheadAttention(4, 2),
    "weight, bias": nn.ConvTranspose2d(4, 4, 2),
    "weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0": nn.LSTM(4, 4),
}
# what is said of networks that are refused: whatever is looked for in it
REFUSED: list[tuple[nn.Module, tuple[str, ...]]] = [
    *(
        (
            model,
            (
                f"layer {name} (BatchNorm",
                "does not directly follow a linear layer or convolution of its own",
                "cannot be folded into a weight; measures that",
            ),
        )
        for model, name in NOT_FOLDABLE.values()
    ),
    *(
        (
            between(module),
            (f"layer 1 ({type(module).__name__}) divides by a statistic of each sample",),
        )
        for module in OF_A_SAMPLE
    ),
    *(
        (
            between(module),
            (
                f"layer 1 ({type(module).__name__}) has parameters ({parameters})",
                "it reads linear layers, convolutions and batch normalization",
            ),
        )
        for parameters, module in OF_ANOTHER_KIND.items()
    ),
    (between(Doubled(4, 4)), ("layer 1 (Doubled) has parameters (weight, bias)",)),
    (between(Standardized(4, 4, 1)), ("layer 1 (Standardized) has parameters (weight, bias)",)),
    (with_token(), ("Module has parameters (token) of a kind",)),
    (nn.Identity(), ("Identity has no linear layer and no convolution",)),
    (
        between(nn.BatchNorm1d(4, track_running_stats=False)),
        ("layer 1 (BatchNorm1d) has no running statistics", "cannot be folded into a weight"),
    ),
    # measures may read its parameters, which have no say in the function
    (
        Module(steps("first"), first=nn.Linear(3, 2), spare=nn.BatchNorm1d(2)),
        ("layer spare (BatchNorm1d) is used 0 times",),
    ),
    # folding it into the first alone would leave it out behind the second
    (
        Module(
            steps("first", "bn", "second", "bn"),
            first=nn.Linear(3, 3),
            second=nn.Linear(3, 3),
            bn=nn.BatchNorm1d(3),
        ),
        ("layer bn (BatchNorm1d) is used 2 times",),
    ),
]


def test_what_no_weight_matrix_tells_is_refused() -> None:
    """The reason names the module, and says what can be done instead."""
    for model, parts in REFUSED:
        text = reason_against(model.double())
        for part in parts:
            assert part in text


def test_layers_come_in_the_order_of_registration() -> None:
    """Which is that of the parameters; modules without any, such as pooling, do not matter."""
    assert names_of(Residual()) == ["conv2", "shortcut.0", "conv1", "classify"]
    others = nn.Dropout2d(), nn.MaxPool2d(2), nn.GELU(), nn.Flatten(), nn.Identity()
    assert names_of(nn.Sequential(nn.Conv2d(1, 2, 3), *others, nn.Linear(2, 2))) == ["0", "6"]


def parametrized(module: nn.Module) -> nn.Module:
    """Return the module with weight normalization as a parametrization."""
    normalized: nn.Module = nn.utils.parametrizations.weight_norm(module)
    return normalized


def test_weights_that_are_no_parameters_are_refused() -> None:
    """Weight and spectral normalization make the weight of other parameters."""
    for module in [
        parametrized(nn.Linear(3, 3)),
        parametrized(nn.Linear(3, 3, bias=False)),
        parametrized(nn.Conv2d(3, 3, 1)),
        nn.utils.spectral_norm(nn.Linear(3, 3)),
        nn.utils.spectral_norm(nn.Conv2d(3, 3, 1)),
    ]:
        shape = (3, 1, 1) if hasattr(module, "kernel_size") else (3,)
        model = random_model(nn.Sequential(module, nn.Flatten(), nn.Linear(3, 2)))
        inputs = images(4, *shape)
        labels = torch.zeros(4, dtype=torch.int64)
        network = sample_network(model, inputs, labels, initial_model=model)
        with pytest.raises(UndefinedMeasureError, match="layer 0"):
            parameter_norm(network)


def test_layers_that_share_a_weight_both_count() -> None:
    """Torch lists the parameter once, under its first name."""
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3))
    model[2].weight = model[0].weight
    random_model(model)
    weight = model.state_dict()["0.weight"].numpy()
    inputs = images(4, 3)
    network = sample_network(model, inputs, labelled_by(model, inputs))
    assert parameter_norm(network) == pytest.approx(2 * float((weight**2).sum()), rel=1e-12)


def test_normalization_of_positions_is_not_folded_into_features() -> None:
    """Behind a linear layer on sequences, channels are positions, even where the sizes agree."""
    model = random_model(
        nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Flatten(), nn.Linear(16, 2))
    )
    inputs = images(5, 4, 3)
    network = sample_network(model, inputs, labelled_by(model, inputs))
    with pytest.raises(UndefinedMeasureError, match="layer 1 is one of positions"):
        parameter_norm(network)


def test_normalization_may_be_called_by_keyword() -> None:
    """It follows its layer all the same."""

    def forward(module: Module, inputs: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = module.get_submodule("bn")(
            input=module.apply_layer("first", inputs)
        )
        return outputs

    model = random_model(Module(forward, first=nn.Linear(3, 2), bn=nn.BatchNorm1d(2)))
    (layer,) = find_weight_layers(model)
    assert layer.normalization == ("bn", 1e-5)


def branch_on_data(module: Module, inputs: torch.Tensor) -> torch.Tensor:
    """Take a path that depends on the data."""
    hidden = module.apply_layer("bn", module.apply_layer("first", inputs))
    return hidden if hidden.sum() > 0 else -hidden


def loop_over_samples(module: Module, inputs: torch.Tensor) -> torch.Tensor:
    """Work on each sample alone."""
    hidden = module.apply_layer("bn", module.apply_layer("first", inputs))
    return torch.stack(list(hidden))


def count_samples(module: Module, inputs: torch.Tensor) -> torch.Tensor:
    """Ask how many samples there are."""
    return module.apply_layer("bn", module.apply_layer("first", inputs)) / len(inputs)


def demand_a_tensor(module: Module, inputs: torch.Tensor) -> torch.Tensor:
    """Raise without a word where the input is no tensor."""
    if not isinstance(inputs, torch.Tensor):
        raise TypeError
    return module.apply_layer("bn", module.apply_layer("first", inputs))


def look_up_by_size(module: Module, inputs: torch.Tensor) -> torch.Tensor:
    """Choose something by the size of the input."""
    factor = {3: 2.0}[inputs.shape[1]]
    return module.apply_layer("bn", module.apply_layer("first", inputs)) * factor


def test_a_forward_pass_that_cannot_be_traced_is_refused() -> None:
    """With normalization alone does it matter what follows what."""
    for forward in [
        branch_on_data,
        loop_over_samples,
        count_samples,
        demand_a_tensor,
        look_up_by_size,
    ]:
        model = random_model(Module(forward, first=nn.Linear(3, 2), bn=nn.BatchNorm1d(2)))
        model(images(4, 3))
        text = reason_against(model)
        assert "the forward pass of Module cannot be traced by torch.fx" in text
        assert "what follows what" in text


def test_without_normalization_no_forward_pass_needs_to_be_traced() -> None:
    """Its path may depend on the data."""
    model = Module(branch_on_data, first=nn.Linear(3, 2), bn=nn.Identity())
    assert names_of(model) == ["first"]
