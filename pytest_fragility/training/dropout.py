"""Dropout whose masks are a function of the run, the step and the place: no generator has a state.

A network's masks are so the same alone as among others, and on every device. Values to drop are
chosen by a hash of a counter (SplitMix64; Steele, Lea & Flood 2014, "Fast splittable pseudorandom
number generators").
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn import functional

from pytest_fragility.training.devices import WhileUsed, having

# as two's complement, since torch has no unsigned multiplication
GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)
MULTIPLIERS = (0xBF58476D1CE4E5B9 - (1 << 64), 0x94D049BB133111EB - (1 << 64))
SHIFTS = (30, 27, 31)
BITS = 24

# the value that alpha dropout puts in a dropped one's place (Klambauer et al. 2017, section 3)
ALPHA = -1.7580993408473766


def mix(counter: torch.Tensor) -> torch.Tensor:
    """Return the hash of counters, int64."""
    first, second, last = SHIFTS
    hashed = (counter ^ _shift_right(counter, first)) * MULTIPLIERS[0]
    hashed = (hashed ^ _shift_right(hashed, second)) * MULTIPLIERS[1]
    return hashed ^ _shift_right(hashed, last)


def _wrapped(number: int) -> int:
    """Return a whole number modulo 2^64, as int64 has it."""
    return (number + (1 << 63)) % (1 << 64) - (1 << 63)


def _shift_right(value: torch.Tensor, bits: int) -> torch.Tensor:
    return (value >> bits) & ((1 << (64 - bits)) - 1)


class _Stream:
    """The masks of one forward pass, each of which is asked for once, in order."""

    def __init__(self, seed: torch.Tensor, step: torch.Tensor) -> None:
        self._key = mix(seed + step * GOLDEN)
        self._calls = 0

    def keeps(self, shape: tuple[int, ...], chance: float) -> torch.Tensor:
        """Return which values stay, each with probability ``1 - chance``: bool."""
        self._calls += 1
        key = mix(self._key + _wrapped(self._calls * GOLDEN))
        count = torch.arange(1, math.prod(shape) + 1, device=key.device)
        bits = _shift_right(mix(key + count * GOLDEN), 64 - BITS)
        return (bits >= round(chance * (1 << BITS))).view(shape)


class _Current(threading.local):
    stream: _Stream | None = None


_current = _Current()


@contextmanager
def seeded_dropout(seed: torch.Tensor, step: torch.Tensor) -> Iterator[None]:
    """Have this thread's dropout, in ``torch.nn.functional``, take its masks from the run and step.

    Parameters
    ----------
    seed
        Of the run: a scalar, int64; under `torch.func.vmap`, one per network.
    step
        Steps taken: a scalar, int64.
    """
    before = _current.stream
    with _replaced():
        _current.stream = _Stream(seed, step)
        try:
            yield
        finally:
            _current.stream = before


Function = Callable[..., torch.Tensor]


def _dropping(mask_shape: Callable[[torch.Tensor], tuple[int, ...]], *, alpha: bool) -> Any:
    """Return what makes a seeded dropout of torch's own, which other threads still get."""

    def make(original: Function) -> Function:
        def dropout(
            input: torch.Tensor,  # noqa: A002
            p: float = 0.5,
            training: bool = True,
            inplace: bool = False,
        ) -> torch.Tensor:
            stream = _current.stream
            if stream is None or not training or p == 0:
                return original(input, p, training, inplace)
            keeps = stream.keeps(mask_shape(input), p)
            dropped = _alpha_drop(input, keeps, p) if alpha else _drop(input, keeps, p)
            return input.copy_(dropped) if inplace else dropped

        return dropout

    return make


def _drop(values: torch.Tensor, keeps: torch.Tensor, chance: float) -> torch.Tensor:
    return values * (keeps * (1 / (1 - chance) if chance < 1 else 0.0)).to(values.dtype)


def _alpha_drop(values: torch.Tensor, keeps: torch.Tensor, chance: float) -> torch.Tensor:
    scale = ((1 - chance) * (1 + chance * ALPHA**2)) ** -0.5 if chance < 1 else 0.0
    return scale * torch.where(keeps, values, ALPHA) - scale * ALPHA * chance


def _every_value(values: torch.Tensor) -> tuple[int, ...]:
    return tuple(values.shape)


def _every_channel(values: torch.Tensor) -> tuple[int, ...]:
    return (*values.shape[:2], *[1] * (values.dim() - 2))


def _attending(original: Function) -> Function:
    """Return an attention with seeded dropout; without any it is torch's own."""

    def attention(
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attn_mask: torch.Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        **settings: Any,
    ) -> torch.Tensor:
        stream = _current.stream
        if stream is None or dropout_p == 0 or settings.get("enable_gqa"):
            return original(query, key, value, attn_mask, dropout_p, is_causal, **settings)
        scale = settings.get("scale") or query.shape[-1] ** -0.5
        scores = query @ key.transpose(-2, -1) * scale
        if is_causal:
            attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
        if attn_mask is not None and attn_mask.dtype == torch.bool:
            scores = scores.masked_fill(~attn_mask, -math.inf)
        elif attn_mask is not None:
            scores = scores + attn_mask
        weights = scores.softmax(dim=-1)
        keeps = stream.keeps(tuple(weights.shape), dropout_p)
        return _drop(weights, keeps, dropout_p) @ value

    return attention


_REPLACEMENTS: dict[str, Callable[[Function], Function]] = {
    "dropout": _dropping(_every_value, alpha=False),
    "dropout1d": _dropping(_every_channel, alpha=False),
    "dropout2d": _dropping(_every_channel, alpha=False),
    "dropout3d": _dropping(_every_channel, alpha=False),
    "alpha_dropout": _dropping(_every_value, alpha=True),
    "feature_alpha_dropout": _dropping(_every_channel, alpha=True),
    "scaled_dot_product_attention": _attending,
}
_replaced = WhileUsed(
    lambda: having(
        functional,
        **{name: make(getattr(functional, name)) for name, make in _REPLACEMENTS.items()},
    )
)
