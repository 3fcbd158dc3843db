"""Second derivatives of the training loss of ReLU perceptrons, written out.

At fixed weights the same activations serve all directions, so that a product with the Hessian costs
a third of what it does by differentiating twice, and a second derivative along a direction, which
needs no backward pass, a tenth.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from functools import cached_property

import torch
from torch.nn import functional

from pytest_fragility.measures.common.parameter_vectors import layer_keys
from pytest_fragility.networks.stacks import Tensors

# samples times directions that are worked on at a time: what fits into a core's own cache, and on
# other devices what takes little of their memory
AT_A_TIME, AT_A_TIME_ON_DEVICE = 4096, 1 << 18


@dataclass(frozen=True)
class _Layer:
    """A linear layer of K networks at their own weights, with what it gets and gives.

    The weight has the shape (K, outputs, inputs), the inputs (K, n, inputs). `is_on` are ones and
    zeros: which of the outputs the ReLU behind it lets through; None for the last.
    """

    weight: torch.Tensor
    inputs: torch.Tensor
    is_on: torch.Tensor | None


class SecondOrder:
    """Second derivatives of the mean cross-entropy of K ReLU perceptrons at their own weights.

    `names` are the linear layers, first to last; inputs and labels are those of all networks.
    """

    def __init__(
        self, names: list[str], weights: Tensors, inputs: torch.Tensor, labels: torch.Tensor
    ) -> None:
        self._keys = layer_keys(names)
        self._has_bias = [bias_key in weights for _, bias_key in self._keys]
        self._layers: list[_Layer] = []
        behind = inputs.flatten(2)
        for weight_key, bias_key in self._keys:
            weight, before = weights[weight_key], behind
            outputs = before @ weight.mT
            if bias_key in weights:
                outputs += weights[bias_key].unsqueeze(1)
            behind = outputs.relu()
            self._layers.append(_Layer(weight, before, (outputs > 0).to(outputs.dtype)))
        self._layers[-1] = _Layer(weight, before, None)
        self._outputs = outputs
        self._shares = outputs.softmax(dim=2)
        self._likeliest = self._shares.argmax(dim=2, keepdim=True)
        truth = functional.one_hot(labels, outputs.shape[2])
        self._surprise = (self._shares - truth) / labels.shape[1]
        self._memory: dict[tuple[str, int], torch.Tensor] = {}

    def in_single(self) -> SecondOrder:
        """Return the same in float32: worked out as it was, and then rounded."""
        single = copy(self)
        single._layers = [
            _Layer(
                layer.weight.float(),
                layer.inputs.float(),
                None if layer.is_on is None else layer.is_on.float(),
            )
            for layer in self._layers
        ]
        single._outputs = self._outputs.float()
        single._shares = self._shares.float()
        single._surprise = self._surprise.float()
        single._upstream = [upstream.float() for upstream in self._upstream]
        single._memory = {}
        return single

    def least_slope(self) -> float:
        """Return the loss's steepest slope along a logit, of the network where it is least."""
        return float(self._surprise.abs().amax(dim=(1, 2)).min())

    def curvatures(self, directions: Tensors) -> torch.Tensor:
        """Return the loss's second derivative along each of S directions, shape (K, S).

        The directions are given by parameter, each of shape (K, S, *shape).
        """
        networks, count = next(iter(directions.values())).shape[:2]
        chunk = self._at_a_time(self._shares.shape[1])
        rows = []
        for place in range(networks):
            chunks = [
                {name: part[place, at : at + chunk] for name, part in directions.items()}
                for at in range(0, count, chunk)
            ]
            rows.append(torch.cat([self._curvatures(place, each) for each in chunks]))
        return torch.stack(rows)

    def _at_a_time(self, each: int) -> int:
        """Return how many are worked on at a time, of which each stands for several."""
        is_on_cpu = self._shares.device.type == "cpu"
        return max(1, (AT_A_TIME if is_on_cpu else AT_A_TIME_ON_DEVICE) // each)

    def _curvatures(self, place: int, directions: Tensors) -> torch.Tensor:
        """Return those of one network, shape (S,); samples stand along the last dimension.

        With z' the derivative of the last outputs along a direction, a sample's loss has the
        variance of z' under the probabilities. To this adds, for each layer, how the change of
        its weights meets the change of its inputs, twice over: a ReLU adds nothing.
        """
        slopes: torch.Tensor | None = None
        found: torch.Tensor | float = 0.0
        for index, (weight_key, bias_key) in enumerate(self._keys):
            layer, step = self._layers[index], directions[weight_key]
            count, outputs, features = step.shape
            changes = (step.flatten(0, 1) @ layer.inputs[place].T).view(count, outputs, -1)
            if bias_key in directions:
                changes += directions[bias_key].unsqueeze(2)
            if slopes is not None:
                changes.baddbmm_(layer.weight[place].expand(count, outputs, features), slopes)
                meeting = slopes.flatten(0, 1) @ self._upstream[index][place]
                found = found + 2 * (meeting.view(count, features, outputs).mT * step).sum((1, 2))
            slopes = changes if layer.is_on is None else changes.mul_(layer.is_on[place].T)
        assert slopes is not None
        shares = self._shares[place].T
        likeliest = self._likeliest[place].T
        slopes = slopes - slopes.gather(1, likeliest.expand(len(slopes), 1, -1))
        mean = (slopes * shares).sum(dim=1)
        variances = (slopes.square() * shares).sum(dim=1) - mean.square()
        curvatures: torch.Tensor = variances.mean(dim=1) + found
        return curvatures

    def products(self, vectors: Tensors) -> Tensors:
        """Return each network's Hessian times a vector, both by parameter."""
        slopes: list[torch.Tensor | None] = [None]
        for index, (weight_key, bias_key) in enumerate(self._keys):
            layer, room = self._layers[index], self._room("changes", index)
            change = torch.bmm(layer.inputs, vectors[weight_key].mT, out=room)
            if (behind := slopes[-1]) is not None:
                change.baddbmm_(behind, layer.weight.mT)
            if bias_key in vectors:
                change += vectors[bias_key].unsqueeze(1)
            slopes.append(change if layer.is_on is None else change.mul_(layer.is_on))
        last = slopes[-1]
        assert last is not None
        # a shift of all logits counts for nothing, and near certainty hides the rest in rounding
        last -= last.gather(2, self._likeliest)
        weighted = last * self._shares
        change = weighted.sub_(self._shares * weighted.sum(dim=2, keepdim=True))
        change /= last.shape[1]
        found: Tensors = {}
        for index in range(len(self._layers) - 1, -1, -1):
            layer, upstream = self._layers[index], self._upstream[index]
            weight_key, bias_key = self._keys[index]
            product = torch.bmm(change.mT, layer.inputs)
            if (behind := slopes[index]) is not None:
                product.baddbmm_(upstream.mT, behind)
            found[weight_key] = product
            if bias_key in vectors:
                found[bias_key] = change.sum(dim=1)
            if index:
                change = torch.bmm(change, layer.weight, out=self._room("gradients", index - 1))
                change.baddbmm_(upstream, vectors[weight_key])
                is_on = self._layers[index - 1].is_on
                assert is_on is not None
                change *= is_on
        return found

    def _room(self, use: str, index: int) -> torch.Tensor:
        """Return memory for a layer's outputs; new memory for each product would take longer."""
        key = use, index
        if key not in self._memory:
            self._memory[key] = torch.empty_like(self._upstream[index])
        return self._memory[key]

    def radial_slopes(self) -> torch.Tensor:
        """Return ``w . grad l_i`` for each sample i, shape (K, n).

        Along the weights themselves, a layer's outputs change by what they are, and by how its
        inputs change.
        """
        given = [*(layer.inputs for layer in self._layers[1:]), self._outputs]
        slopes = given[0]
        for layer, own in zip(self._layers[1:], given[1:], strict=True):
            change = torch.bmm(slopes, layer.weight.mT)
            slopes = own + (change if layer.is_on is None else change.mul_(layer.is_on))
        return (slopes * self._surprise).sum(dim=2) * slopes.shape[1]

    def traces(self) -> torch.Tensor:
        """Return the Hessian's trace, shape (K,).

        The outputs are linear in each parameter by itself, so that the Hessian's diagonal is that
        of the Gauss-Newton matrix: a sample adds the squared length of the gradient of each logit
        less their mean under the probabilities p, weighed by p. A layer's part of it is that with
        respect to the layer's outputs, times one (its bias) and the squared length of its input.
        """
        return torch.stack([self._trace(place) for place in range(len(self._shares))])

    def _trace(self, place: int) -> torch.Tensor:
        samples, classes = self._shares.shape[1:]
        chunk = self._at_a_time(classes)
        parts = [
            self._trace_sum(place, slice(begin, begin + chunk))
            for begin in range(0, samples, chunk)
        ]
        return torch.stack(parts).sum() / samples

    def _trace_sum(self, place: int, chosen: slice) -> torch.Tensor:
        """Return what some samples of one network add, times the number of all."""
        shares = self._shares[place, chosen]
        classes = shares.shape[1]
        one_hot = torch.eye(classes, dtype=shares.dtype, device=shares.device)
        # shape (samples, classes, outputs of the layer)
        slopes = shares.sqrt().unsqueeze(2) * (one_hot - shares.unsqueeze(1))
        found = shares.new_zeros(())
        for index in range(len(self._layers) - 1, -1, -1):
            layer = self._layers[index]
            lengths = layer.inputs[place, chosen].square().sum(dim=1) + self._has_bias[index]
            found += (slopes.square().sum(dim=(1, 2)) * lengths).sum()
            if index:
                is_on = self._layers[index - 1].is_on
                assert is_on is not None
                slopes = slopes.flatten(0, 1) @ layer.weight[place]
                slopes = slopes.view(-1, classes, slopes.shape[1])
                slopes *= is_on[place, chosen].unsqueeze(1)
        return found

    @cached_property
    def _upstream(self) -> list[torch.Tensor]:
        """The loss's gradient with respect to every layer's outputs, shape (K, n, outputs)."""
        gradients = [self._surprise]
        for layer, before in zip(self._layers[:0:-1], self._layers[-2::-1], strict=True):
            assert before.is_on is not None
            gradients.insert(0, torch.bmm(gradients[0], layer.weight) * before.is_on)
        return gradients
