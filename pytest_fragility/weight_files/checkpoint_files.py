"""Checkpoint files: a network's tensors from whatever file holds them; no code is ever run."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file

from pytest_fragility._util.text import error_text, one_line
from pytest_fragility.networks import NetworkState, state_of
from pytest_fragility.weight_files.fitting_names import fitting_tensors
from pytest_fragility.weight_files.formats import (
    ARCHIVE,
    INDEX,
    LEGACY,
    UnusableFileError,
    format_of,
)
from pytest_fragility.weight_files.leaves import Leaf
from pytest_fragility.weight_files.shards import read_shards
from pytest_fragility.weight_files.torch_files import read_archive, read_legacy


def read_state(path: Path, network: torch.nn.Module, dtype: torch.dtype) -> NetworkState:
    """Return a checkpoint's values of a network's parameters and buffers.

    Parameters
    ----------
    path
        A file of safetensors, one that `torch.save` has written, or the index of several.
    network
        Of the architecture that it must be of; it is left as it is.
    dtype
        Of the floating-point values that are returned.

    Raises
    ------
    ValueError
        In words, if there is no such file, it is damaged or holds code, or it is of another
        network; an `UnusableFileError` where the file is at fault, whatever the network.
    """
    found = fitting_tensors(_read(path), network)
    own = state_of(network)
    counted = {name: torch.zeros_like(each) for name, each in own.buffers.items()}
    saved = network.state_dict().keys()
    return NetworkState(
        {name: _plain(name, found[name], each) for name, each in own.weights.items()},
        {
            # what is never saved is as it is made; a counter that was left out is zero
            name: _plain(name, found[name], each)
            if name in found
            else (counted[name] if name in saved else each)
            for name, each in own.buffers.items()
        },
    ).copy(dtype)


def _plain(name: str, tensor: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    """Return a tensor that is of the same kind of numbers as a network's own."""
    if own.is_floating_point() and tensor.is_floating_point() and tensor.dtype.itemsize > 1:
        return tensor
    if not tensor.is_complex() and tensor.is_floating_point() >= own.is_floating_point():
        try:
            # what is rarer may not be copied into anything but this
            plain = tensor.to(torch.float32 if own.is_floating_point() else own.dtype)
            if torch.equal(plain.to(torch.float64), tensor.to(torch.float64)):
                return plain
        # of kinds that torch only stores
        except RuntimeError:
            pass
    raise ValueError(f"{one_line(name)} is {tensor.dtype}; expected plain numbers, {own.dtype}")


def _read(path: Path, *, is_shard: bool = False) -> list[Leaf]:
    try:
        if not path.exists():
            raise UnusableFileError("is not there")
        if not path.is_file():
            raise UnusableFileError("is no plain file")
        kind = format_of(path)
        if kind == ARCHIVE:
            return read_archive(path)
        if kind == LEGACY:
            return read_legacy(path)
        if kind == INDEX and is_shard:
            raise UnusableFileError("is text, and no part of a checkpoint")
        if kind == INDEX:
            return read_shards(path, lambda shard: _read(shard, is_shard=True))
        return [Leaf((name,), 0, tensor) for name, tensor in load_file(path).items()]
    except UnusableFileError as error:
        raise UnusableFileError(error.text, error.name or one_line(path.name, 80)) from None
    except OSError as error:
        raise UnusableFileError(
            f"cannot be read: {error.strerror or error}", one_line(path.name, 80)
        ) from None
    # whatever damage makes its format's own reader raise
    except Exception as error:
        reason = one_line(error_text(error).strip().split("\n")[0], 120)
        raise UnusableFileError(
            f"is damaged, or of a kind that is not read ({reason})", one_line(path.name, 80)
        ) from None
