"""Measures of the loss surface as published code finds them: one network after the other.

Autograd on the module itself, which is moved along the way and moved back, as sharpness-aware
optimizers do; gradients of single samples by ``vmap``, since a loop would be slower still.
"""

from __future__ import annotations

import math
from copy import deepcopy

import torch
from torch import nn
from torch.nn import functional

from pytest_fragility.networks.trained_network import TrainedNetwork

STEPS = 20
STEP = 0.25
SLOPES = [0.1 + 0.01 * step for step in range(90)]
FAILURE = 0.01
SURFACE_MEASURES = (
    "train_loss",
    "gradient_norm",
    "fisher_rao_norm",
    "worst_case_sharpness",
    "adaptive_sharpness",
    "path_norm_at_initialization",
    "path_norm_bound",
)


def surface_values(network: TrainedNetwork) -> dict[str, float]:
    """Return losses, gradients, sharpness and the path-norm bound of one network."""
    model = deepcopy(network.model)
    loss, gradients = loss_and_gradients(model, network)
    return {
        "train_loss": loss,
        "gradient_norm": float(norm_of(gradients)),
        "fisher_rao_norm": fisher_rao_norm(model, network),
        "worst_case_sharpness": sharpness(model, network, radius=0.05, adaptive=False),
        "adaptive_sharpness": sharpness(model, network, radius=0.5, adaptive=True),
        "path_norm_at_initialization": path_norm_at_initialization(network),
        "path_norm_bound": path_norm_bound(network),
    }


def loss_and_gradients(
    model: nn.Module, network: TrainedNetwork
) -> tuple[float, list[torch.Tensor]]:
    """Return the mean cross-entropy and its gradient."""
    model.zero_grad()
    loss = functional.cross_entropy(model(network.inputs), network.labels)
    loss.backward()
    return float(loss.detach()), [p.grad.clone() for p in model.parameters() if p.grad is not None]


def norm_of(tensors: list[torch.Tensor]) -> torch.Tensor:
    """Return the norm of all entries together."""
    return torch.stack([tensor.norm() for tensor in tensors]).norm()


def fisher_rao_norm(model: nn.Module, network: TrainedNetwork) -> float:
    """Return w^T F w from the gradient of each sample's loss."""
    weights = {name: p.detach() for name, p in model.named_parameters()}

    def loss_of(
        weights: dict[str, torch.Tensor], inputs: torch.Tensor, label: torch.Tensor
    ) -> torch.Tensor:
        logits = torch.func.functional_call(model, weights, inputs[None])
        return functional.cross_entropy(logits, label[None])

    gradients = torch.func.vmap(torch.func.grad(loss_of), in_dims=(None, 0, 0))(
        weights, network.inputs, network.labels
    )
    slopes = sum((gradients[name] * weight).flatten(1).sum(1) for name, weight in weights.items())
    return float(torch.as_tensor(slopes).square().mean())


def sharpness(model: nn.Module, network: TrainedNetwork, *, radius: float, adaptive: bool) -> float:
    """Return the largest rise of the loss in a ball, by projected ascent from both edges."""
    trained = [p.detach().clone() for p in model.parameters()]
    scales = [w.abs() if adaptive else torch.ones_like(w) for w in trained]
    start, gradients = loss_and_gradients(model, network)
    slopes = [scale * g for scale, g in zip(scales, gradients, strict=True)]
    best = 0.0
    for sign in (1, -1):
        offsets = [sign * radius * slope / norm_of(slopes) for slope in slopes]
        for _ in range(STEPS + 1):
            move(model, trained, scales, offsets)
            loss, gradients = loss_and_gradients(model, network)
            best = max(best, loss - start)
            ascent = [scale * g for scale, g in zip(scales, gradients, strict=True)]
            length = norm_of(ascent)
            offsets = [o + STEP * radius * a / length for o, a in zip(offsets, ascent, strict=True)]
            back = min(1.0, radius / float(norm_of(offsets)))
            offsets = [back * offset for offset in offsets]
    move(model, trained, scales, [torch.zeros_like(w) for w in trained])
    return best


def move(
    model: nn.Module,
    trained: list[torch.Tensor],
    scales: list[torch.Tensor],
    offsets: list[torch.Tensor],
) -> None:
    """Put the model's weights at an offset from the trained ones."""
    with torch.no_grad():
        for p, weight, scale, offset in zip(
            model.parameters(), trained, scales, offsets, strict=True
        ):
            p.copy_(weight + scale * offset)


def path_norm_at_initialization(network: TrainedNetwork) -> float:
    """Return the path norm of the initial weights."""
    squared = deepcopy(network.initial_model)
    with torch.no_grad():
        for p in squared.parameters():
            p.pow_(2)
        return float(squared(torch.ones_like(network.inputs[:1])).sum())


def path_norm_bound(network: TrainedNetwork) -> float:
    """Return the margin bound by the l1 path norm, slope after slope."""
    absolute = deepcopy(network.model)
    with torch.no_grad():
        for p in absolute.parameters():
            p.abs_()
        path_norm = float(absolute(torch.ones_like(network.inputs[:1])).max())
        logits = network.model(network.inputs)
        rows = torch.arange(network.n)
        own = logits[rows, network.labels].clone()
        logits[rows, network.labels] = -math.inf
        margins = own - logits.max(dim=1).values
        layers = sum(p.dim() > 1 for p in network.model.parameters())
        inputs = network.inputs.flatten(1)
        complexity = (
            2**layers
            * path_norm
            * max(1.0, float(inputs.abs().max()))
            * math.sqrt(math.log(2 * (inputs.shape[1] + 1)) / network.n)
        )
        penalty = math.sqrt(math.log(2 * len(SLOPES) / FAILURE) / (2 * network.n))
        return min(
            float((1 - slope * margins).clamp(0, 1).mean())
            + 4 * logits.shape[1] * slope * complexity
            + penalty
            for slope in SLOPES
        )
