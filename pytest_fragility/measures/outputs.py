"""What networks compute: logits and margins, with the weights they have or with others."""

from __future__ import annotations

import torch
from torch.func import functional_call, vmap

from pytest_fragility.errors import UndefinedMeasureError
from pytest_fragility.network_stacks import NetworkStack, Tensors
from pytest_fragility.training.mapped import plain_attention
from pytest_fragility.training.perceptrons import as_perceptron

SMALLEST_FOR_MARGIN = 10


def logits_of(
    structure: torch.nn.Module, weights: Tensors, buffers: Tensors, inputs: torch.Tensor
) -> torch.Tensor:
    """Return the outputs of S networks, shape (S, samples, classes).

    Parameters
    ----------
    structure
        Gives the layers.
    weights, buffers
        By name, each of shape (S, *shape).
    inputs
        Shape (S, samples, *input shape).
    """
    perceptron = as_perceptron(structure)
    if perceptron is not None:
        return perceptron.outputs(list(weights.values()), inputs)

    def one(weights: Tensors, buffers: Tensors, inputs: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = functional_call(structure, {**weights, **buffers}, (inputs,))
        return outputs

    def each_alone() -> torch.Tensor:
        return torch.stack(
            [
                one(_at(weights, place), _at(buffers, place), inputs[place])
                for place in range(len(inputs))
            ]
        )

    with plain_attention():
        if len(inputs) == 1:
            return each_alone()
        try:
            outputs: torch.Tensor = vmap(one)(weights, buffers, inputs)
        except RuntimeError:
            # what vmap cannot take works for each by itself, or raises there in its own words
            outputs = each_alone()
    return outputs


def _at(tensors: Tensors, place: int) -> Tensors:
    return {name: tensor[place] for name, tensor in tensors.items()}


def in_precision(tensors: Tensors, dtype: torch.dtype) -> Tensors:
    """Return floating-point tensors in a dtype, and others, such as counters, as they are."""
    return {
        name: tensor.to(dtype) if tensor.is_floating_point() else tensor
        for name, tensor in tensors.items()
    }


def train_logits(stack: NetworkStack) -> torch.Tensor:
    """Return the outputs on the training samples, shape (K, n, classes), float64."""

    def compute() -> torch.Tensor:
        with torch.no_grad():
            weights, buffers = (
                in_precision(stack.weights, torch.float64),
                in_precision(stack.buffers, torch.float64),
            )
            return logits_of(stack.structure, weights, buffers, stack.inputs.double())

    return stack.once("train logits", compute)


def number_of_outputs(stack: NetworkStack) -> int:
    """Return the number of classes that the networks tell apart."""

    def compute() -> int:
        weights = {
            name: weight[:1] for name, weight in in_precision(stack.weights, torch.float64).items()
        }
        buffers = {
            name: buffer[:1] for name, buffer in in_precision(stack.buffers, torch.float64).items()
        }
        with torch.no_grad():
            sample = stack.inputs[:1, :1].double()
            return logits_of(stack.structure, weights, buffers, sample).shape[2]

    return stack.once_for_structure("number of outputs", compute)


def train_margins(stack: NetworkStack) -> torch.Tensor:
    """Return each training sample's logit of its label minus the largest other, shape (K, n)."""
    logits, labels = train_logits(stack), stack.labels.unsqueeze(2)
    own = logits.gather(2, labels).squeeze(2)
    return own - logits.scatter(2, labels, -torch.inf).amax(dim=2)


def log_margin(stack: NetworkStack) -> torch.Tensor:
    """Return the logarithm of the 10th percentile of the margins, shape (K,), float64.

    The percentile is the floor(n / 10)-th smallest margin, the order statistic of published code.

    Raises
    ------
    UndefinedMeasureError
        If n is below 10, or a network mislabels so many training samples that the percentile is
        not positive.
    """
    return stack.once("log margin", lambda: _log_margin(stack))


def _log_margin(stack: NetworkStack) -> torch.Tensor:
    if stack.n < SMALLEST_FOR_MARGIN:
        raise UndefinedMeasureError(
            f"the margin is the 10th percentile over the training samples, of which there are only "
            f"{stack.n}: expected at least {SMALLEST_FOR_MARGIN}"
        )
    margins = train_margins(stack).kthvalue(stack.n // 10, dim=1).values
    for place, margin in enumerate(margins.tolist()):
        if not margin > 0:
            raise UndefinedMeasureError(
                f"the margin (10th percentile over the training samples) is {margin:.3g}, and must "
                "be positive: the network mislabels about a tenth of its training samples or more. "
                "Train it further, or use a measure without margin",
                place,
            )
    return margins.log()
