"""Which layers see nothing but the outputs of which others."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import fx, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.instancenorm import _InstanceNorm

from pytest_fragility.errors import UndefinedMeasureError
from pytest_fragility.networks.tracing import (
    BATCH_NORMALIZATIONS,
    WEIGHT_LAYERS,
    as_written,
    calls,
    is_flattening,
    is_relu,
    traced,
)

# by exact type: a subclass may do anything
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
HOMOGENEOUS = (nn.ReLU, nn.LeakyReLU, nn.Identity, nn.Dropout)
POOLING = (
    *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d),
    *(nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
)
NORMALIZATIONS = (
    *BATCH_NORMALIZATIONS,
    *(nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d),
    *(nn.LayerNorm, nn.GroupNorm, nn.RMSNorm),
)
ELEMENTWISE = (nn.Tanh, nn.Sigmoid, nn.GELU, nn.SiLU, nn.ELU, nn.Softplus)
ELEMENTWISE_CALLS = (torch.tanh, functional.gelu, functional.silu, "tanh")


@dataclass(frozen=True)
class Link:
    """Two weight layers, the second of which sees nothing but the first's outputs.

    Parameters
    ----------
    first, second
        Paths of a linear layer or convolution each.
    normalization
        Path of the normalization directly behind the first; None without.
    is_homogeneous
        Whether scaling an output of the first by c > 0 scales what the second sees by c; an output
        of the normalization where there is one.
    is_rectified
        Whether a negative output of the first is zero for the second.
    is_separable
        Whether what the second sees of an output of the first is the same whatever the others are.
    """

    first: str
    second: str
    normalization: str | None
    is_homogeneous: bool
    is_rectified: bool
    is_separable: bool

    def spread(self, module: nn.Module) -> int:
        """Return how many inputs of the second layer each output of the first becomes."""
        first, second = (weight_of(module, name) for name in (self.first, self.second))
        return second.shape[1] // first.shape[0]


def weight_of(module: nn.Module, layer: str) -> torch.Tensor:
    """Return a layer's weight, shape (outputs, inputs, *kernel)."""
    weight = module.get_submodule(layer).weight
    assert isinstance(weight, torch.Tensor)
    return weight


def find_links(module: nn.Module) -> list[Link]:
    """Return all links of a network in the order of its forward pass; none if it is untraceable.

    Between two linked layers, every operation has one input and one user, and treats the outputs
    of the first one by one, or all alike. Layers that share a parameter or are used twice, and
    grouped convolutions, are left out.
    """
    graph = _Graph.of(module)
    links = [graph.link(node) for node in graph.nodes if graph.is_own_layer(node)]
    return [link for link in links if link is not None]


def find_normalized(module: nn.Module) -> list[tuple[str, str]]:
    """Return each layer that only a normalization directly behind it sees, and the latter."""
    graph = _Graph.of(module)
    behind = [(node, _only_user(node)) for node in graph.nodes]
    return [
        (str(node.target), str(after.target))
        for node, after in behind
        if after is not None and graph.is_layer(node) and graph.is_normalization(after)
    ]


def last_layer(module: nn.Module) -> str | None:
    """Return the path of the layer that gives the logits; None where none does."""
    graph = _Graph.of(module)
    for before, after in pairwise(graph.nodes):
        if after.op == "output" and graph.is_own_layer(before):
            return str(before.target)
    return None


@dataclass(frozen=True)
class _Graph:
    """The operations of a forward pass, with the modules that they call as these are written."""

    nodes: list[fx.Node]
    modules: dict[str, nn.Module]
    shared: set[int]

    @classmethod
    def of(cls, module: nn.Module) -> _Graph:
        try:
            nodes = list(traced(module).nodes)
        except UndefinedMeasureError:
            nodes = []
        names = [id(p) for _, p in module.named_parameters(remove_duplicate=False)]
        shared = {each for each in names if names.count(each) > 1}
        return cls(nodes, as_written(module), shared)

    def module(self, node: fx.Node) -> nn.Module | None:
        """Return the module that an operation calls; None for what is not known."""
        return self.modules.get(str(node.target)) if node.op == "call_module" else None

    def is_own(self, node: fx.Node) -> bool:
        """Return whether the parameters of the module it calls are used once, and as they are."""
        module = self.module(node)
        if module is None:
            return False
        # a forward pass may also read the weight of a layer by itself
        uses = [each for each in self.nodes if f"{each.target}.".startswith(f"{node.target}.")]
        parameters = dict(module.named_parameters())
        # a parametrization computes the weight from parameters of other names
        is_plain = parameters.keys() <= {"weight", "bias"}
        is_shared = any(id(p) in self.shared for p in parameters.values())
        return len(uses) == 1 and is_plain and not is_shared

    def is_layer(self, node: fx.Node) -> bool:
        """Return whether it is a linear layer or convolution of its own parameters."""
        return type(self.module(node)) in (*WEIGHT_LAYERS, *TRANSPOSED) and self.is_own(node)

    def is_own_layer(self, node: fx.Node) -> bool:
        """Return whether it is such a layer, each output of which may depend on every input."""
        module = self.module(node)
        if isinstance(module, _ConvNd) and (module.groups > 1 or module.transposed):
            return False
        return self.is_layer(node)

    def is_normalization(self, node: fx.Node) -> bool:
        """Return whether it is a normalization of its own parameters."""
        module = self.module(node)
        # tracked statistics are only known to be rescaled for batch normalization
        if isinstance(module, _InstanceNorm) and module.track_running_stats:
            return False
        return type(module) in NORMALIZATIONS and self.is_own(node)

    def link(self, start: fx.Node) -> Link | None:
        """Return the link that starts at a layer, where there is one."""
        first = self.module(start)
        assert isinstance(first, nn.Linear | _ConvNd)
        is_convolution = isinstance(first, _ConvNd)
        normalization, is_homogeneous, is_rectified, is_flat = None, True, False, False
        is_separable = True
        node = _only_user(start)
        while node is not None and len(node.all_input_nodes) == 1:
            module = self.module(node)
            if isinstance(module, nn.Linear | _ConvNd):
                is_flat_enough = is_flat == (is_convolution and isinstance(module, nn.Linear))
                if not self.is_own_layer(node) or not is_flat_enough:
                    return None
                second = str(node.target)
                return Link(
                    str(start.target),
                    second,
                    normalization,
                    is_homogeneous,
                    is_rectified,
                    is_separable,
                )
            if is_relu(node, module):
                is_rectified = True
            elif self.is_normalization(node) and node.all_input_nodes == [start]:
                if not _is_foldable(module, first) and not _is_over_all(module, first):
                    return None
                normalization = str(node.target)
                is_separable = _is_foldable(module, first)
                # without parameters there is nothing to scale behind the statistics
                is_homogeneous = bool(list(self.modules[normalization].parameters()))
            elif is_convolution and is_flattening(node, module):
                is_flat = True
            elif type(module) in ELEMENTWISE or calls(node, *ELEMENTWISE_CALLS):
                is_homogeneous = False
            elif type(module) not in HOMOGENEOUS and not (
                is_convolution and type(module) in POOLING
            ):
                return None
            node = _only_user(node)
        return None


def _is_foldable(module: nn.Module | None, before: nn.Linear | _ConvNd) -> bool:
    """Return whether it scales and shifts each output of the layer before it by constants."""
    if not isinstance(module, _BatchNorm):
        return False
    constant = module.track_running_stats and module.affine
    return bool(constant and module.num_features == before.weight.shape[0])


def _is_over_all(module: nn.Module | None, before: nn.Linear | _ConvNd) -> bool:
    """Return whether its statistics are over all outputs of the layer before it at once."""
    if not isinstance(module, nn.LayerNorm | nn.RMSNorm):
        return False
    # outputs, and behind those of a convolution as many dimensions as its kernel has
    return len(module.normalized_shape) == before.weight.dim() - 1


def _only_user(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None
