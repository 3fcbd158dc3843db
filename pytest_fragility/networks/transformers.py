"""Small vision transformers."""

from __future__ import annotations

import torch
from torch import nn

from pytest_fragility.errors import SettingsError
from pytest_fragility.networks.layers import Image, as_image, device_of, image_layers, linear
from pytest_fragility.recipes import ViT


class Patches(nn.Module):
    """Cuts images into patches, maps each to a vector and adds its position's."""

    def __init__(self, image: Image, patch: int, width: int) -> None:
        super().__init__()
        channels, height, breadth = image
        self.grid = (height // patch, breadth // patch)
        self.patch = patch
        self.embedding = linear(channels * patch * patch, width)
        patches = self.grid[0] * self.grid[1]
        self.positions = nn.Parameter(
            torch.zeros(patches, width, device=device_of(patches, width), dtype=torch.float32)
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map (batch, channels, height, width) to (batch, patches, width)."""
        batch, channels = images.shape[:2]
        rows, columns = self.grid
        cut = images.reshape(batch, channels, rows, self.patch, columns, self.patch)
        flat = cut.permute(0, 2, 4, 1, 3, 5).reshape(batch, rows * columns, -1)
        embedded: torch.Tensor = self.embedding(flat)
        return embedded + self.positions


class Attention(nn.Module):
    """Multi-head self-attention (Vaswani et al. 2017, eq. 1)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.queries = linear(width, width)
        # a constant added to all scores would change nothing
        self.keys = linear(width, width, bias=False)
        self.values = linear(width, width)
        self.output = linear(width, width)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map (batch, patches, width) to the same shape."""
        batch, patches, width = inputs.shape

        def split(vectors: torch.Tensor) -> torch.Tensor:
            return vectors.reshape(batch, patches, self.heads, -1).transpose(1, 2)

        queries, keys = split(self.queries(inputs)), split(self.keys(inputs))
        scores = queries @ keys.transpose(2, 3) * (width // self.heads) ** -0.5
        mixed = scores.softmax(dim=3) @ split(self.values(inputs))
        output: torch.Tensor = self.output(mixed.transpose(1, 2).reshape(batch, patches, width))
        return output


class Encoder(nn.Module):
    """Attention, then a perceptron, each normalized in front and added to its input."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention_normalization = _layer_norm(width)
        self.attention = Attention(width, heads)
        self.attention_dropout = nn.Dropout(dropout)
        self.perceptron_normalization = _layer_norm(width)
        self.perceptron = nn.Sequential(
            linear(width, 2 * width), nn.GELU(), linear(2 * width, width)
        )
        self.perceptron_dropout = nn.Dropout(dropout)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map (batch, patches, width) to the same shape."""
        mixed = inputs + self.attention_dropout(
            self.attention(self.attention_normalization(inputs))
        )
        output: torch.Tensor = mixed + self.perceptron_dropout(
            self.perceptron(self.perceptron_normalization(mixed))
        )
        return output


class MeanOverPatches(nn.Module):
    """The mean of all patches' vectors."""

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """Map (batch, patches, width) to (batch, width)."""
        return vectors.mean(dim=1)


def vision_transformer(
    architecture: ViT, input_shape: tuple[int, ...], classes: int
) -> nn.Sequential:
    """Return patches, blocks of attention and perceptron, and a classifier."""
    image = as_image(architecture, input_shape)
    if image[1] % architecture.patch or image[2] % architecture.patch:
        raise SettingsError(
            f"architecture {architecture}: images of {image[1]} x {image[2]} pixels; expected "
            f"sides that are multiples of the patch, {architecture.patch}"
        )
    width = architecture.width
    blocks = [
        Encoder(width, architecture.heads, architecture.dropout) for _ in range(architecture.depth)
    ]
    return nn.Sequential(
        *image_layers(input_shape, image),
        Patches(image, architecture.patch, width),
        *blocks,
        _layer_norm(width),
        MeanOverPatches(),
        linear(width, classes),
    )


def _layer_norm(width: int) -> nn.LayerNorm:
    return nn.LayerNorm(width, device=device_of(2, width), dtype=torch.float32)
