"""Weight layers of a network, told by their type, and the normalization behind them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeGuard

from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.instancenorm import _InstanceNorm

from pytest_fragility.errors import UndefinedMeasureError
from pytest_fragility.networks.attachments import attached_to_forward
from pytest_fragility.networks.stacks import NetworkStack
from pytest_fragility.networks.tracing import BATCH_NORMALIZATIONS, WEIGHT_LAYERS, called, traced

SAMPLE_NORMALIZATIONS = (
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
    nn.LocalResponseNorm,
    nn.CrossMapLRN2d,
    _InstanceNorm,
)


@dataclass(frozen=True)
class WeightLayer:
    """A linear layer or a convolution.

    Parameters
    ----------
    name
        The module's path.
    module
        Gives stride, padding and the like; its own weights mean nothing.
    normalization
        Path of the batch normalization behind it, which is folded into it, and its epsilon.
    """

    name: str
    module: nn.Linear | _ConvNd
    normalization: tuple[str, float] | None

    @property
    def is_convolution(self) -> bool:
        """Whether the layer is a convolution."""
        return isinstance(self.module, _ConvNd)


def weight_layers(stack: NetworkStack) -> list[WeightLayer]:
    """Return linear layers and convolutions in the order of registration.

    Raises
    ------
    UndefinedMeasureError
        If a module has parameters of another kind, or normalizes in a way that cannot be folded
        into a weight.
    """
    return stack.once_for_structure("weight layers", lambda: find_weight_layers(stack.structure))


def find_weight_layers(structure: nn.Module) -> list[WeightLayer]:
    """Return the weight layers of one module; see `weight_layers`."""
    modules = dict(structure.named_modules())
    for name, module in modules.items():
        _require_known(name, module)
    folded = _foldable(structure, modules)
    layers = [
        WeightLayer(name, module, folded.get(name))
        for name, module in modules.items()
        if _is_weight_layer(module)
    ]
    if not layers:
        raise UndefinedMeasureError(
            f"{called('', structure)} has no linear layer and no convolution, so no weight matrix"
        )
    return layers


def _is_weight_layer(module: nn.Module) -> TypeGuard[nn.Linear | _ConvNd]:
    """Tell by the exact type: a subclass may do anything with its weight."""
    return type(module) in WEIGHT_LAYERS


def _require_known(name: str, module: nn.Module) -> None:
    """Refuse a module whose weights or statistics no weight matrix holds."""
    if isinstance(module, SAMPLE_NORMALIZATIONS):
        raise UndefinedMeasureError(
            f"{called(name, module)} divides by a statistic of each sample, which cannot be "
            "folded into a weight; norms of weights say nothing about such a network's function"
        )
    own = [key for key, _ in module.named_parameters(recurse=False)]
    attached = attached_to_forward(module)
    if attached and (own or isinstance(module, nn.Linear | _ConvNd | _BatchNorm)):
        raise UndefinedMeasureError(
            f"{called(name, module)} has {attached}, so that its parameters do not say what it "
            "computes; this measure reads layers that do as their type says. Measures that read "
            "functions or whole parameter vectors still apply"
        )
    if isinstance(module, _BatchNorm) and type(module) not in BATCH_NORMALIZATIONS:
        raise UndefinedMeasureError(
            f"{called(name, module)} is a batch normalization of its own kind, which cannot be "
            "folded into a weight; this measure folds those of torch.nn"
        )
    is_plain = _is_weight_layer(module) or type(module) in BATCH_NORMALIZATIONS
    if _is_weight_layer(module) and "weight" not in own:
        raise UndefinedMeasureError(
            f"{called(name, module)} has a weight that is made from other tensors at each pass "
            f"({', '.join(own)}); this measure reads weights that are parameters"
        )
    if own and not (is_plain and set(own) <= {"weight", "bias"}):
        raise UndefinedMeasureError(
            f"{called(name, module)} has parameters ({', '.join(own)}) of a kind that this "
            "measure does not know; it reads linear layers, convolutions and batch normalization"
        )


def _foldable(structure: nn.Module, modules: dict[str, nn.Module]) -> dict[str, tuple[str, float]]:
    """Return, by weight layer, the batch normalization that directly follows it."""
    waiting = {name: m for name, m in modules.items() if isinstance(m, _BatchNorm)}
    if not waiting:
        return {}
    folded: dict[str, tuple[str, float]] = {}
    calls = [str(node.target) for node in traced(structure).nodes if node.op == "call_module"]
    odd = [name for name in waiting if calls.count(name) != 1]
    if odd:
        raise UndefinedMeasureError(
            f"{called(odd[0], modules[odd[0]])} is used {calls.count(odd[0])} times, so that it "
            "cannot be folded into one weight"
        )
    for node in traced(structure).nodes:
        if node.op != "call_module" or node.target not in waiting:
            continue
        name = str(node.target)
        module = waiting[name]
        assert isinstance(module, _BatchNorm)
        if module.running_mean is None:
            raise UndefinedMeasureError(
                f"{called(name, module)} has no running statistics: it uses those of the batch, "
                "which cannot be folded into a weight"
            )
        before = node.all_input_nodes[0]
        if not _is_sole_use_of_a_weight_layer(before, modules):
            raise UndefinedMeasureError(
                f"{called(name, module)} does not directly follow a linear layer or convolution "
                f"of its own (it follows {before}), so that it cannot be folded into a weight; "
                "measures that read functions or whole parameter vectors still apply"
            )
        folded[str(before.target)] = (name, module.eps)
    return folded


def _is_sole_use_of_a_weight_layer(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    if node.op != "call_module" or len(node.users) != 1:
        return False
    if not _is_weight_layer(modules[str(node.target)]):
        return False
    uses = [other for other in node.graph.nodes if other.target == node.target]
    return len(uses) == 1
