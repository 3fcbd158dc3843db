"""What a network is made of."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

from pytest_fragility._util.validation import (
    COUNT,
    COUNTS,
    DEPTH,
    FRACTION,
    Rule,
    ShortRepr,
    check,
    named,
)
from pytest_fragility.errors import SettingsError

HE_NORMAL = "he-normal"
NORMALIZATIONS = ("batch", "group", "layer", "none")

ODD = Rule(lambda value: COUNT.holds(value) and value % 2 == 1, "an odd number, at least 1")


class Architecture(ShortRepr):
    """The layers between input and output; what all architectures have in common."""

    kind: ClassVar[str]
    # how initial weights are drawn where a recipe does not say
    default_initialization: ClassVar[str] = HE_NORMAL

    def with_width(self, factor: float) -> Architecture:
        """Return the architecture with hidden layers so many times as wide; itself if unclear."""
        return self

    def with_depth(self, layers: int) -> Architecture:
        """Return the architecture with so many hidden layers more; itself if unclear."""
        return self


@dataclass(frozen=True, kw_only=True, repr=False)
class _Perceptron(Architecture):
    """Hidden layers of some widths, one after the other."""

    hidden: tuple[int, ...] = (64, 64)

    def __post_init__(self) -> None:
        check(self, hidden=COUNTS)

    def with_width(self, factor: float) -> Architecture:
        """Return it with other widths; less than 3 is an error."""
        return dataclasses.replace(self, hidden=_scaled(self.hidden, factor))

    def with_depth(self, layers: int) -> Architecture:
        """Return it with its last hidden layer repeated, or without its last; one stays."""
        return dataclasses.replace(self, hidden=_deepened(self.hidden, layers))


@dataclass(frozen=True, kw_only=True, repr=False)
class MLP(_Perceptron):
    """A ReLU multilayer perceptron: flatten, then linear layers with ReLU between them.

    Parameters
    ----------
    hidden
        Widths of the hidden layers, first to last.

    Raises
    ------
    SettingsError
        If a width is not a positive integer.
    """

    kind: ClassVar[str] = "mlp"

    def __str__(self) -> str:
        return "mlp " + "-".join(map(str, self.hidden)) if self.hidden else "linear"


@dataclass(frozen=True, kw_only=True, repr=False)
class ScaleInvariantMLP(_Perceptron):
    """A multilayer perceptron whose function does not change when its weights are scaled.

    Flatten; then for each hidden layer a linear map without bias, a layer normalization without
    parameters and with epsilon zero, and a ReLU; then a fixed orthonormal classifier that is not
    trained (Hoffer et al. 2018, "Fix your classifier"). The weights in front of a normalization
    can be multiplied by any positive number, and exact pairs of trainings follow (Li & Arora
    2020, "An exponential learning rate schedule for deep learning").

    Parameters
    ----------
    hidden
        Widths of the hidden layers, first to last; at least one layer, of at least three.

    Raises
    ------
    SettingsError
        If there is no layer, or a width is not a whole number from 3 up.
    """

    kind: ClassVar[str] = "scale_invariant_mlp"

    def __post_init__(self) -> None:
        super().__post_init__()
        # two normalized units are 1 and -1, whatever the weights
        at_least_three = Rule(
            lambda value: len(value) > 0 and min(value) > 2,
            "one layer or more, each of at least 3 units, which a layer normalization needs",
        )
        check(self, hidden=at_least_three)

    def __str__(self) -> str:
        return "scale-invariant mlp " + "-".join(map(str, self.hidden))


@dataclass(frozen=True, kw_only=True, repr=False)
class CNN(Architecture):
    """A plain convolutional network.

    For each width a convolution that keeps the image's size, a ReLU and, where the image is still
    at least 2 x 2, a max-pooling by 2; then flatten, linear layers with ReLU, and a linear
    classifier. Inputs are images: see `ResNet`.

    Parameters
    ----------
    channels
        Widths of the convolutions, first to last.
    kernel_size
        Of all convolutions; odd.
    hidden
        Widths of the linear layers in front of the classifier.

    Raises
    ------
    SettingsError
        If there is no convolution, a width is not a positive integer, or the kernel not odd.
    """

    kind: ClassVar[str] = "cnn"
    channels: tuple[int, ...] = (8, 16)
    kernel_size: int = 3
    hidden: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        some = Rule(
            lambda value: COUNTS.holds(value) and bool(value),
            "a tuple of one positive integer or more, such as (8, 16)",
        )
        check(self, channels=some, kernel_size=ODD, hidden=COUNTS)

    def with_width(self, factor: float) -> Architecture:
        """Return it with other widths; less than 3 is an error."""
        channels, hidden = _scaled(self.channels, factor), _scaled(self.hidden, factor)
        return dataclasses.replace(self, channels=channels, hidden=hidden)

    def with_depth(self, layers: int) -> Architecture:
        """Return it with its last convolution repeated, or without its last; one stays."""
        return dataclasses.replace(self, channels=_deepened(self.channels, layers))

    def __str__(self) -> str:
        widths = "-".join(map(str, self.channels))
        size = "" if self.kernel_size == 3 else f" ({self.kernel_size} x {self.kernel_size})"
        hidden = " mlp " + "-".join(map(str, self.hidden)) if self.hidden else ""
        return f"cnn {widths}{size}{hidden}"


@dataclass(frozen=True, kw_only=True, repr=False)
class ResNet(Architecture):
    """A residual network in the style for CIFAR (He et al. 2016, section 4.2).

    A 3 x 3 convolution; three stages of blocks of two 3 x 3 convolutions, each with a
    normalization behind it, the stages of widths w, 2w and 4w, with stride 2 from one to the
    next; the mean over the image; a linear classifier. Where the width changes, shortcuts are
    1 x 1 convolutions with a normalization (option B). It has 6 `blocks` + 2 layers.

    Inputs are images of shape (channels, height, width); (height, width) has one channel, and a
    flat input of square length is a square image of one channel.

    Parameters
    ----------
    blocks
        Of each stage.
    width
        Of the first stage.
    normalization
        ``batch``, ``group`` (of 4 channels, or of fewer where the width is not a multiple of it),
        ``layer`` (over channels and image together), or ``none``.

    Raises
    ------
    SettingsError
        If a number is not a positive integer, or the normalization is none of these.
    """

    kind: ClassVar[str] = "resnet"
    blocks: int = 1
    width: int = 8
    normalization: str = "batch"

    def __post_init__(self) -> None:
        check(self, blocks=DEPTH, width=COUNT, normalization=named(*NORMALIZATIONS))

    def with_width(self, factor: float) -> Architecture:
        """Return it with another width; less than 3 is an error."""
        return dataclasses.replace(self, width=_scaled((self.width,), factor)[0])

    def with_depth(self, layers: int) -> Architecture:
        """Return it with so many blocks more in each stage; one stays."""
        return dataclasses.replace(self, blocks=max(1, self.blocks + layers))

    def __str__(self) -> str:
        depth = 6 * self.blocks + 2
        kind = "no normalization" if self.normalization == "none" else f"{self.normalization} norm"
        return f"resnet-{depth} width {self.width} {kind}"


@dataclass(frozen=True, kw_only=True, repr=False)
class ViT(Architecture):
    """A small vision transformer (Dosovitskiy et al. 2021).

    Patches through a linear map, plus learned positions that start at zero; blocks of multi-head
    attention (keys without bias) and of a GELU perceptron of twice the width, each behind a layer
    normalization and added to its input; a layer normalization, the mean over patches and a linear
    classifier (Beyer et al. 2022, "Better plain ViT baselines for ImageNet-1k"). Inputs are images:
    see `ResNet`.

    Parameters
    ----------
    patch
        Side of a patch, in pixels; the image's sides must be multiples of it.
    width
        Of each patch's vector.
    depth
        Number of blocks.
    heads
        Of each attention; the width is a multiple of it.
    dropout
        Chance of each value to be dropped, behind each attention and perceptron.

    Raises
    ------
    SettingsError
        If a number is not a positive integer, the width not a multiple of the heads, or the
        dropout not in [0, 1).
    """

    kind: ClassVar[str] = "vit"
    patch: int = 2
    width: int = 32
    depth: int = 2
    heads: int = 4
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check(self, patch=COUNT, width=COUNT, depth=DEPTH, heads=COUNT, dropout=FRACTION)
        check(
            self,
            width=Rule(lambda value: value % self.heads == 0, f"a multiple of heads={self.heads}"),
        )

    def with_width(self, factor: float) -> Architecture:
        """Return it with another width, a multiple of its heads."""
        each = round(self.width * factor / self.heads)
        if each < 1:
            raise SettingsError(
                f"width {self.width} x {factor:g}: expected at least one value for each of the "
                f"{self.heads} heads"
            )
        return dataclasses.replace(self, width=self.heads * each)

    def with_depth(self, layers: int) -> Architecture:
        """Return it with so many blocks more; one stays."""
        return dataclasses.replace(self, depth=max(1, self.depth + layers))

    def __str__(self) -> str:
        dropout = f" dropout {self.dropout:g}" if self.dropout else ""
        return (
            f"vit patch {self.patch} width {self.width} depth {self.depth} heads {self.heads}"
            f"{dropout}"
        )


ARCHITECTURES: dict[str, type[Architecture]] = {
    "mlp": MLP,
    "cnn": CNN,
    "resnet": ResNet,
    "vit": ViT,
    "scale_invariant": ScaleInvariantMLP,
}


def _scaled(widths: tuple[int, ...], factor: float) -> tuple[int, ...]:
    scaled = tuple(round(width * factor) for width in widths)
    if not all(scaled):
        narrow = widths[scaled.index(0)]
        raise SettingsError(f"hidden layer of width {narrow} x {factor:g}: it would have no unit")
    return scaled


def _deepened(widths: tuple[int, ...], layers: int) -> tuple[int, ...]:
    deeper = widths + widths[-1:] * max(layers, 0)
    return deeper[: max(1, len(widths) + layers)]
