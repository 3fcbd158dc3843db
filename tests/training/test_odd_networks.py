"""Networks whose forward pass does what few do: trained and measured as they are, or refused."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations, weight_norm
from torch.utils.checkpoint import checkpoint

from pytest_fragility import measures
from pytest_fragility.errors import TrainingError, UndefinedMeasureError
from pytest_fragility.measures.common import outputs
from pytest_fragility.networks.attachments import attached_to_forward
from pytest_fragility.networks.stacks import NetworkStack
from pytest_fragility.networks.trained_network import TrainedNetwork
from pytest_fragility.recipes import Factory, Recipe
from pytest_fragility.symmetries import SYMMETRIES, in_double
from pytest_fragility.training.perceptron_stacks import as_perceptron
from pytest_fragility.training.stacked_forms import stacked_form
from tests.attached_networks import perceptron, with_hook
from tests.reference_training import CPU
from tests.training.test_architectures import IMAGES
from tests.training.test_own_networks import assert_trained_alike, trained

pytestmark = pytest.mark.filterwarnings("ignore:.*(weight_norm|torch.jit.script). is deprecated")


class Hidden(nn.Module):
    """A perceptron with one hidden layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(16, 8), nn.Linear(8, 4)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map inputs to outputs."""
        outputs: torch.Tensor = self.last(self.first(inputs.flatten(1)).relu())
        return outputs


Change = Callable[[Any, torch.Tensor, Callable[[torch.Tensor], torch.Tensor]], torch.Tensor]


class Odd(Hidden):
    """A perceptron with more parts, which does something more in its forward pass.

    The change is called with the module, its inputs and the perceptron's own forward pass.
    """

    def __init__(self, change: Change = lambda own, inputs, plain: plain(inputs), **parts: Any):
        super().__init__()
        self.change = change
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map inputs to outputs."""
        return self.change(self, inputs, super().forward)


def slope(own: Any, inputs: torch.Tensor, plain: Any) -> torch.Tensor:
    """Take a derivative in the forward pass."""

    def energy(sample: torch.Tensor) -> torch.Tensor:
        return own.first(sample).tanh().sum()

    outputs: torch.Tensor = plain(torch.func.vmap(torch.func.grad(energy))(inputs.flatten(1)))
    return outputs


def recomputed(own: Any, inputs: torch.Tensor, plain: Any) -> torch.Tensor:
    """Run the backward pass inside of another one."""
    asking = inputs.detach().requires_grad_()
    outputs: torch.Tensor = checkpoint(plain, asking, use_reentrant=True)
    return outputs


def counted(own: Any, inputs: torch.Tensor, plain: Any) -> torch.Tensor:
    """Count passes in training, which changes the ones that follow."""
    own.passes += own.training
    outputs: torch.Tensor = plain(inputs) * (1 + 0.01 * own.passes)
    return outputs


def late(own: Any, inputs: torch.Tensor, plain: Any) -> torch.Tensor:
    """Make a buffer in the first pass."""
    if "scale" not in own._buffers:
        own.register_buffer("scale", inputs.new_ones(4))
    outputs: torch.Tensor = plain(inputs) * own.scale
    return outputs


def with_temperature() -> nn.Module:
    """Return a network with a parameter that is a single number."""
    return Odd(
        lambda own, inputs, plain: plain(inputs) / own.temperature,
        temperature=nn.Parameter(torch.tensor(1.5)),
    )


def with_unused() -> nn.Module:
    """Return a network with a parameter that nothing reads."""
    return Odd(extra=nn.Parameter(torch.ones(3)))


def with_factor() -> nn.Module:
    """Return a network with a parameter that is a whole number, in front of all others."""
    return Odd(
        lambda own, inputs, plain: own.factor * plain(inputs),
        factor=nn.Parameter(torch.tensor(2), requires_grad=False),
    )


def with_tensor(name: str) -> nn.Module:
    """Return a network that reads a buffer of some name; one called plain is no buffer."""
    network = Odd(lambda own, inputs, plain: plain(inputs) * getattr(own, name).to(inputs.dtype))
    if name == "plain":
        network.plain = torch.ones(4)
    else:
        network.register_buffer(name, torch.ones(4))
    return network


def with_pre_hook(change: Callable[[Any], None], *, training: bool) -> nn.Module:
    """Return a perceptron whose first layer is changed in front of a pass."""
    return with_hook(
        "register_forward_pre_hook",
        lambda layer, _: change(layer) if layer.training or not training else None,
        1,
    )


def replace(layer: Any) -> None:
    """Let a weight have other data."""
    layer.weight.data = 0.9 * layer.weight.data


@torch.no_grad()
def clamp(layer: Any) -> None:
    """Change a weight in place."""
    layer.weight.clamp_(-0.2, 0.2)


def halved() -> nn.Module:
    """Return a perceptron one of whose gradients is halved once it is there."""
    network = perceptron()
    halve = lambda own: setattr(own, "grad", own.grad / 2)  # noqa: E731
    network[1].weight.register_post_accumulate_grad_hook(halve)
    return network


class Words(nn.Module):
    """Embeds rounded pixels, with sparse gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.last = nn.Embedding(10, 3, sparse=True), nn.Linear(48, 4)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map inputs to outputs."""
        words = (3 * inputs.flatten(1)).round().long().clamp(-4, 5) + 4
        outputs: torch.Tensor = self.last(self.words(words).flatten(1))
        return outputs


TRAINED: dict[str, Callable[[], nn.Module]] = {
    "temperature": with_temperature,
    "slope": lambda: Odd(slope),
    "recomputed": lambda: Odd(recomputed),
    "sparse": Words,
    "unused": with_unused,
    "factor": with_factor,
    "replaced weight": lambda: with_pre_hook(replace, training=True),
    "clamped weight": lambda: with_pre_hook(clamp, training=True),
    "halved gradient": halved,
}


@pytest.mark.parametrize("name", TRAINED)
def test_it_is_trained_as_a_loop_over_torch_optim_trains_it(name: str) -> None:
    """In float64 to 1e-10, and its training loss is the module's own."""
    assert_trained_alike(Factory(TRAINED[name], name=name.replace(" ", "_")))


class AlwaysDropping(nn.Sequential):
    """Keeps its dropout when it is evaluated."""

    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Dropout(0.5), nn.Linear(16, 4))

    def eval(self) -> AlwaysDropping:
        """Change nothing."""
        return self


def test_a_refusal_to_train_says_why() -> None:
    """What is not in its parameters and buffers would be lost, and what it writes to is shared."""
    for build, reason in [
        (
            lambda: Odd(counted, passes=0),
            "once trained, its network does something else than a new one .* Register such",
        ),
        (AlwaysDropping, "once trained, its network does something else than a new one"),
        (lambda: Odd(late), r"its forward pass adds or removes parameters or buffers \(scale\)"),
        (
            lambda: nn.Sequential(nn.Dropout(0.2, inplace=True), *perceptron()),
            "it writes to its inputs, .* inplace=False",
        ),
    ]:
        with pytest.raises(TrainingError, match=reason):
            trained(Factory(build, name="odd"))


def one_of(build: Callable[[], nn.Module]) -> TrainedNetwork:
    """Return a trained network."""
    (one,) = trained(Factory(build, name="odd", version=str(build)), seeds=1, precision="float64")
    return TrainedNetwork.build(one, "baseline", CPU)


def hessian_of(network: TrainedNetwork) -> torch.Tensor:
    """Return the Hessian of the training loss by differences of gradients."""
    model = network.model
    parameters = list(model.parameters())

    def gradient() -> torch.Tensor:
        loss = functional.cross_entropy(model(network.inputs), network.labels)
        rows = torch.autograd.grad(loss, parameters, materialize_grads=True)
        return torch.cat([row.flatten() for row in rows])

    columns = []
    with torch.no_grad():
        for value in [flat for each in parameters for flat in each.view(-1).split(1)]:
            found = []
            for step in (1e-5, -1e-5):
                value.add_(step)
                with torch.enable_grad():
                    found.append(gradient())
                value.sub_(step)
            columns.append((found[0] - found[1]) / 2e-5)
    return torch.stack(columns)


def test_second_derivatives_are_the_loss_s_or_refused() -> None:
    """Some of torch's own are wrong, which shows in that they are not symmetric."""
    for build in [
        with_unused,
        with_temperature,
        lambda: nn.Sequential(nn.Flatten(), weight_norm(nn.Linear(16, 4))),
        lambda: nn.Sequential(nn.Flatten(), parametrizations.weight_norm(nn.Linear(16, 4))),
    ]:
        network = one_of(build)
        try:
            found = float(measures.hessian_largest_eigenvalue(network))
        except UndefinedMeasureError as error:
            assert "second derivatives of Sequential are not symmetric" in str(error)  # noqa: PT017
        else:
            expected = torch.linalg.eigvalsh(hessian_of(network)).max().item()
            assert found == pytest.approx(expected, rel=1e-4)


class Bags(nn.Module):
    """Has no second derivatives in torch."""

    def __init__(self) -> None:
        super().__init__()
        self.bag, self.last = nn.EmbeddingBag(10, 8), nn.Linear(8, 4)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map inputs to outputs."""
        words = (3 * inputs.flatten(1)).round().long().clamp(-4, 5) + 4
        outputs: torch.Tensor = self.last(self.bag(words))
        return outputs


def constant() -> nn.Module:
    """Return a network that says the same whatever it has learned."""
    return Odd(
        lambda own, inputs, plain: plain(inputs) if own.training else inputs.flatten(1)[:, :4]
    )


def test_derivatives_that_are_not_there_are_refused() -> None:
    """Never with an error of torch's."""
    for build, measure, reason in [
        (Bags, "hessian_trace", "second derivatives of Bags cannot be taken: the derivative for"),
        (Bags, "fisher_rao_norm", "second derivatives of Bags cannot be taken: the derivative for"),
        (Words, "gradient_norm", "gradients of Words cannot be taken: Could not run"),
        (constant, "gradient_norm", "gradients of Odd .* depend on none of its parameters"),
        (
            lambda: with_pre_hook(clamp, training=False),
            "gradient_norm",
            "gradients of Sequential .* writes to its parameters",
        ),
    ]:
        network = one_of(build)
        with pytest.raises(UndefinedMeasureError, match=reason):
            getattr(measures, measure)(network)
        assert math.isfinite(float(measures.train_loss(network)))


def test_paths_do_not_go_through_tensors_that_are_no_layers() -> None:
    """Whatever these are called."""
    for name in ["mean", "relu", "size", "plain"]:
        network = one_of(functools.partial(with_tensor, name))
        with pytest.raises(UndefinedMeasureError, match=rf"a tensor that is no layer's \({name}\)"):
            measures.path_norm(network)


def test_a_scripted_network_has_no_symmetries_that_are_known() -> None:
    """Its code cannot be read."""
    network = in_double(one_of(lambda: torch.jit.script(perceptron())))
    assert [symmetry(network) for symmetry in SYMMETRIES.values()] == [None] * len(SYMMETRIES)


def test_a_method_put_into_torch_s_class_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it says that it is."""
    network = one_of(perceptron)
    layers = nn.Linear(2, 2), nn.Conv2d(1, 1, 1), nn.BatchNorm1d(2), nn.SyncBatchNorm(2), nn.ReLU()
    assert not any(map(attached_to_forward, layers))
    before = nn.Linear.forward

    @functools.wraps(before)
    def doubled(self: nn.Linear, inputs: torch.Tensor) -> torch.Tensor:
        return 2 * before(self, inputs)

    monkeypatch.setattr(nn.Linear, "forward", doubled)
    assert attached_to_forward(nn.Linear(2, 2)) == "a method forward that is not torch's"
    assert as_perceptron(network.model) is None
    with pytest.raises(UndefinedMeasureError, match="a method forward that is not torch's"):
        measures.path_norm(network)
    logits = outputs.train_logits(NetworkStack.of_network(network))[0]
    torch.testing.assert_close(logits, network.model(network.inputs).detach())


def test_an_even_kernel_keeps_no_size() -> None:
    """No form that does not fit is tried, and told of, first."""
    layers = nn.Conv2d(1, 3, 2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(75, 4)
    even = Factory(lambda: nn.Sequential(*deepcopy(layers)), name="even", version="1")
    form = stacked_form(Recipe(architecture=even), IMAGES.data)
    assert (form.kind, form.reason) == ("mapped", "")
