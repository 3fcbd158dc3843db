"""Architectures that trainings and stacks are tested with, built-in and of one's own."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from pytest_fragility.recipes import CNN, MLP, Architecture, Factory, ResNet, ScaleInvariantMLP, ViT

BUILT_IN: dict[str, Architecture] = {
    "mlp": MLP(hidden=(8, 8)),
    "scale-invariant": ScaleInvariantMLP(hidden=(8, 8)),
    "cnn": CNN(channels=(3, 4), hidden=(5,)),
    "resnet-batch": ResNet(width=3),
    "resnet-group": ResNet(width=4, normalization="group"),
    "resnet-layer": ResNet(width=3, normalization="layer"),
    "resnet-none": ResNet(width=3, normalization="none"),
    "vit": ViT(width=8, heads=2, depth=1),
    "vit-dropout": ViT(width=8, heads=2, depth=1, dropout=0.2),
}


def with_layer(layer: nn.Module) -> nn.Module:
    """Return a perceptron with some layer in its middle."""
    # in front of a normalization a bias would change nothing, and its gradient be rounding alone
    first = nn.Linear(16, 8, bias=False)
    return nn.Sequential(nn.Flatten(), first, layer, nn.ReLU(), nn.Linear(8, 4))


class Tied(nn.Module):
    """Two layers of one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(16, 16, bias=False)
        self.second = nn.Linear(16, 16)
        self.second.weight = self.first.weight
        self.last = nn.Linear(16, 4)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map inputs (batch, ...) to outputs."""
        return self.last(self.second(self.first(inputs.flatten(1)).relu()).tanh())


class RandomFeatures(nn.Module):
    """Features that are not trained: one matrix is a parameter, one a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Parameter(torch.randn(16, 12), requires_grad=False)
        self.register_buffer("shift", torch.randn(12))
        self.last = nn.Linear(12, 4)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map inputs (batch, ...) to outputs."""
        return self.last((inputs.flatten(1) @ self.features + self.shift).cos())


class Encoder(nn.Module):
    """Torch's own transformer layer, dropout in its attention included."""

    def __init__(self, input_shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.encoder = nn.TransformerEncoderLayer(
            input_shape[-1], 2, dim_feedforward=8, dropout=0.1, batch_first=True
        )
        self.last = nn.Linear(input_shape[-1], classes)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map inputs (batch, ...) to outputs."""
        return self.last(self.encoder(inputs.squeeze(1)).mean(dim=1))


class FunctionalDropout(nn.Module):
    """Dropout as a function, of values and of channels."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 4, 3)
        self.last = nn.Linear(16, 4)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map inputs (batch, ...) to outputs."""
        hidden = functional.dropout2d(self.convolution(inputs), 0.3, self.training)
        return self.last(functional.dropout(hidden.flatten(1), 0.3, self.training))


OWN: dict[str, Factory] = {
    "batch-norm": Factory(lambda: with_layer(nn.BatchNorm1d(8))),
    "dropout": Factory(lambda: with_layer(nn.Dropout(0.5))),
    "alpha-dropout": Factory(lambda: with_layer(nn.AlphaDropout(0.2))),
    "tied": Factory(Tied),
    "random-features": Factory(RandomFeatures),
    "encoder": Factory(Encoder),
    "functional-dropout": Factory(FunctionalDropout),
}


class Branch(nn.Module):
    """Asks for a value: `torch.func.vmap` has many."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map inputs (batch, ...) to outputs."""
        return inputs if inputs.mean() > 0 else 0.5 * inputs


class Noise(nn.Module):
    """Draws from torch's global generator."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map inputs (batch, ...) to outputs."""
        return inputs + 0.1 * torch.randn_like(inputs) if self.training else inputs


class MovingMean(nn.Module):
    """Sets a buffer anew in the place of changing it."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map inputs (batch, ...) to outputs."""
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * inputs.detach().mean()
        return inputs - self.mean


class Recurrent(nn.Module):
    """A recurrent layer, which torch has no batched form of."""

    def __init__(self) -> None:
        super().__init__()
        self.recurrent = nn.GRU(4, 6, batch_first=True)
        self.last = nn.Linear(6, 4)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map inputs (batch, ...) to outputs."""
        return self.last(self.recurrent(inputs.flatten(1).view(-1, 4, 4))[0][:, -1])


# architectures that vmap does not take, and what the message says of each
UNMAPPED: dict[str, tuple[Factory, str]] = {
    "branch": (Factory(lambda: with_layer(Branch())), r"its module 2 \(Branch\): .*control flow"),
    "noise": (Factory(lambda: with_layer(Noise())), r"its module 2 \(Noise\): .*random operation"),
    "cumulative": (
        Factory(lambda: with_layer(nn.BatchNorm1d(8, momentum=None))),
        r"its module 2 \(BatchNorm1d\): .*\.item\(\)",
    ),
    "moving-mean": (
        Factory(lambda: with_layer(MovingMean())),
        r"its network \(Sequential\): many networks at once have other results",
    ),
    "recurrent": (Factory(Recurrent), r"its module recurrent \(GRU\): .*gru"),
}
