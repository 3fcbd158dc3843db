"""What networks compute: logits and margins, with the weights they have or with others."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch.func import functional_call, vmap
from torch.nn import functional

from pytest_fragility._util.text import first_sentence
from pytest_fragility.errors import UndefinedMeasureError
from pytest_fragility.measures.common.parameter_vectors import layer_keys, random_like
from pytest_fragility.networks.stacks import NetworkStack, Tensors
from pytest_fragility.networks.tracing import relu_chain
from pytest_fragility.training.one_by_one import holding
from pytest_fragility.training.perceptron_stacks import Perceptron, as_perceptron
from pytest_fragility.training.probe import AT_KINKS, ROUNDING, agree
from pytest_fragility.training.vmapped import plain_attention

SMALLEST_FOR_MARGIN = 10
# of those that ways to the outputs are compared on
SAMPLES = 8
# of second derivatives, as a share of their size: parts may be worked out in float32
ASYMMETRY = 1e-3


def logits_of(
    stack: NetworkStack, weights: Tensors, buffers: Tensors, inputs: torch.Tensor
) -> torch.Tensor:
    """Return the outputs of S networks with the stack's layers, shape (S, samples, classes).

    Weights and buffers have the shape (S, *shape), inputs (S, samples, *input shape).
    """
    if (perceptron := perceptron_of(stack)) is not None:
        return perceptron.outputs(list(weights.values()), inputs)
    # for a single network it gains nothing
    if len(inputs) > 1 and _can_be_mapped(stack):
        return _all_at_once(stack.structure, weights, buffers, inputs)
    return each_alone(stack.structure, weights, buffers, inputs)


def perceptron_of(stack: NetworkStack) -> Perceptron | None:
    """Return the written out form of a stack of perceptrons; None for anything else."""

    def find() -> Perceptron | None:
        perceptron = as_perceptron(stack.structure)
        if perceptron is None:
            return None
        agrees = does_the_same(
            stack, lambda weights, _, inputs: perceptron.outputs(list(weights.values()), inputs)
        )
        return perceptron if agrees else None

    return stack.once_for_structure("perceptron", find)


def relu_chain_of(stack: NetworkStack) -> list[str] | None:
    """Return the linear layers of a stack of ReLU perceptrons; None for anything else."""

    def find() -> list[str] | None:
        chain = relu_chain(stack.structure)
        if chain is None:
            return None
        agrees = does_the_same(
            stack, lambda weights, _, inputs: _through_chain(chain, weights, inputs)
        )
        return chain if agrees else None

    return stack.once_for_structure("ReLU chain", find)


def _through_chain(chain: list[str], weights: Tensors, inputs: torch.Tensor) -> torch.Tensor:
    """Return the outputs of ReLU perceptrons, given their linear layers."""
    outputs = inputs.flatten(2)
    for index, (weight, bias) in enumerate(layer_keys(chain)):
        below = outputs.relu() if index else outputs
        outputs = below @ weights[weight].mT
        if bias in weights:
            outputs = outputs + weights[bias].unsqueeze(1)
    return outputs


def require_own_gradients(stack: NetworkStack) -> None:
    """Refuse networks whose gradients, taken after their forward pass has ended, are others'.

    Raises
    ------
    UndefinedMeasureError
        If a network computes parts again for its backward pass, as `torch.utils.checkpoint` does,
        or torch has no gradients of its outputs.
    """

    def find() -> str:
        try:
            leaves, logits = _tried(stack)
            if not logits.requires_grad:
                return "cannot be taken: its outputs depend on none of its parameters"
            if any(each._version for each in leaves.values()):
                return "cannot be taken: its forward pass writes to its parameters"
            _slopes(logits, leaves)
            if does_the_same(stack, partial(each_alone, stack.structure)):
                return ""
        except RuntimeError as error:
            return f"cannot be taken: {first_sentence(error)}"
        return (
            "are not those of its forward pass: it computes parts again for its backward pass, as "
            "torch.utils.checkpoint does. Build it without that for measures of gradients"
        )

    if perceptron_of(stack) is None:
        _require(stack, "the gradients", stack.once_for_structure("own gradients", find))


def require_second_derivatives(stack: NetworkStack) -> None:
    """Refuse networks of whose loss torch has no second derivatives, or has wrong ones.

    They are tried once, on training samples of the first network: those of a function are
    symmetric.

    Raises
    ------
    UndefinedMeasureError
        If there are none, or they are not symmetric.
    """

    def find() -> str:
        generator = torch.Generator(device=stack.device).manual_seed(0)
        with torch.enable_grad():
            try:
                leaves, logits = _tried(stack)
                loss = functional.cross_entropy(logits[0], stack.labels[0, :SAMPLES])
                slopes = _derivatives(loss, leaves)
                one, other = (
                    [random_like(slope.detach(), generator) for slope in slopes] for _ in range(2)
                )
                from_one, from_other = (
                    _derivatives(_inner(slopes, direction), leaves) for direction in (one, other)
                )
            except RuntimeError as error:
                return f"cannot be taken: {first_sentence(error)}"
        difference = (_inner(from_one, other) - _inner(from_other, one)).detach().abs()
        size = (_inner(from_one, from_one) * _inner(other, other)).detach().sqrt()
        if bool(difference > ASYMMETRY * size):
            return (
                "are not symmetric, as those of every function are: a part of it has gradients of "
                "its own making, as detach() gives, or torch's second derivatives of it are "
                "wrong, as those of weight_norm are"
            )
        return ""

    _require(stack, "the second derivatives", stack.once_for_structure("second derivatives", find))


def _tried(stack: NetworkStack) -> tuple[Tensors, torch.Tensor]:
    """Return the first network's weights as leaves, and its outputs on some training samples."""
    inputs = stack.inputs[:1, :SAMPLES].double()
    weights, buffers = _in_double(stack, slice(1))
    leaves = {name: each.clone().requires_grad_() for name, each in weights.items()}
    buffers = {name: each.clone() for name, each in buffers.items()}
    with torch.enable_grad():
        return leaves, each_alone(stack.structure, leaves, buffers, inputs)


def _require(stack: NetworkStack, what: str, objection: str) -> None:
    if objection:
        raise UndefinedMeasureError(f"{what} of {type(stack.structure).__name__} {objection}")


def _can_be_mapped(stack: NetworkStack) -> bool:
    return stack.once_for_structure(
        "can be mapped",
        lambda: does_the_same(stack, partial(_all_at_once, stack.structure)),
    )


def does_the_same(
    stack: NetworkStack, outputs: Callable[[Tensors, Tensors, torch.Tensor], torch.Tensor]
) -> bool:
    """Return whether a way to the outputs leads where the module itself does; gradients too.

    It is tried once, on training samples of the first network, with its weights and with others.
    """
    try:
        samples = stack.inputs[0, :SAMPLES]
    except UndefinedMeasureError:
        # networks trained elsewhere, on samples that are not known: there is nothing to compare
        return True
    own, held = (in_precision(each, samples.dtype) for each in (stack.weights, stack.buffers))
    weights = {name: torch.stack([each[0], 0.9 * each[0]]) for name, each in own.items()}
    buffers = {name: torch.stack([each[0]] * 2) for name, each in held.items()}
    inputs = torch.stack([samples, samples])
    with torch.enable_grad():
        leaves = {name: weight.requires_grad_() for name, weight in weights.items()}
        expected, slopes = [], []
        try:
            for place in range(2):
                with holding(stack.structure, {**_at(leaves, place), **_at(buffers, place)}):
                    expected.append(stack.structure(inputs[place]))
                    slopes.append(_slopes(expected[place], leaves))
            with warnings.catch_warnings():
                warnings.filterwarnings("error", message=".*performance drop.*")
                found = outputs(leaves, buffers, inputs)
        except (RuntimeError, UserWarning):
            # what vmap does not take, or takes no faster than a loop; or what has no gradients
            return False
        together = [one + other for one, other in zip(*slopes, strict=True)]
        rounding = ROUNDING[found.dtype]
        return agree([found], [torch.stack(expected)], rounding) and agree(
            _slopes(found, leaves), together, AT_KINKS * rounding
        )


def _slopes(logits: torch.Tensor, leaves: Tensors) -> list[torch.Tensor]:
    """Return the gradients of what a loss depends on, as one number."""
    if not logits.requires_grad:
        return [torch.zeros_like(each) for each in leaves.values()]
    return _derivatives(logits.log_softmax(dim=-1)[..., 0].sum(), leaves)


def _derivatives(value: torch.Tensor, leaves: Tensors) -> list[torch.Tensor]:
    """Return the gradients of a number, with a graph where there may be one."""
    return [
        *torch.autograd.grad(
            value, list(leaves.values()), create_graph=True, materialize_grads=True
        )
    ]


def _inner(left: Sequence[torch.Tensor], right: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the inner product of two lists of tensors."""
    return torch.stack([(a * b).sum() for a, b in zip(left, right, strict=True)]).sum()


def _all_at_once(
    structure: torch.nn.Module, weights: Tensors, buffers: Tensors, inputs: torch.Tensor
) -> torch.Tensor:
    def one(weights: Tensors, buffers: Tensors, inputs: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = functional_call(structure, {**weights, **buffers}, (inputs,))
        return outputs

    with plain_attention():
        outputs: torch.Tensor = vmap(one)(weights, buffers, inputs)
    return outputs


def each_alone(
    structure: torch.nn.Module, weights: Tensors, buffers: Tensors, inputs: torch.Tensor
) -> torch.Tensor:
    """Return the outputs of S networks, passed through one after the other; see `logits_of`."""
    logits = []
    with plain_attention():
        for place, samples in enumerate(inputs):
            with holding(structure, {**_at(weights, place), **_at(buffers, place)}):
                logits.append(structure(samples))
    return torch.stack(logits)


def _at(tensors: Tensors, place: int) -> Tensors:
    return {name: tensor[place] for name, tensor in tensors.items()}


def in_precision(tensors: Tensors, dtype: torch.dtype) -> Tensors:
    """Return floating-point tensors in a dtype, and others, such as counters, as they are."""
    return {
        name: tensor.to(dtype) if tensor.is_floating_point() else tensor
        for name, tensor in tensors.items()
    }


def _in_double(stack: NetworkStack, places: slice) -> tuple[Tensors, Tensors]:
    """Return weights and buffers of some of the networks in float64."""
    weights, buffers = (
        {name: each[places] for name, each in in_precision(tensors, torch.float64).items()}
        for tensors in (stack.weights, stack.buffers)
    )
    return weights, buffers


def train_logits(stack: NetworkStack) -> torch.Tensor:
    """Return the outputs on the training samples, shape (K, n, classes), float64."""

    def compute() -> torch.Tensor:
        with torch.no_grad():
            return logits_of(stack, *_in_double(stack, slice(None)), stack.inputs.double())

    return stack.once("train logits", compute)


def number_of_outputs(stack: NetworkStack) -> int:
    """Return the number of classes that the networks tell apart."""

    def compute() -> int:
        with torch.no_grad():
            sample = stack.inputs[:1, :1].double()
            return logits_of(stack, *_in_double(stack, slice(1)), sample).shape[2]

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
