"""Checkpoint files: tensors by name, from safetensors or from a state dict; no code is ever run."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from pytest_fragility.networks import NetworkState, state_of
from pytest_fragility.quoting import error_text, one_line

if TYPE_CHECKING:
    Tensors = Mapping[str, torch.Tensor]

SAFETENSORS = ".safetensors"
# under which training loops keep the state dict beside other things
NESTED = ("state_dict", "model_state_dict", "model")
# what wrappers put before each name
PREFIXES = ("module.", "_orig_mod.", "model.")


def read_state(path: Path, network: torch.nn.Module, dtype: torch.dtype) -> NetworkState:
    """Return a checkpoint's values of a network's parameters and buffers.

    Parameters
    ----------
    path
        A file of safetensors, where its name ends so, or one that `torch.save` has written.
    network
        Of the architecture that it must be of; it takes the values on.
    dtype
        Of the floating-point values that are returned.

    Raises
    ------
    ValueError
        In words, if there is no such file, it is damaged or holds code, or it is of another
        network.
    """
    tensors = _unwrapped(_read(path), network)
    own, names = state_of(network), _names(network)
    extra = [name for name in tensors if name not in names]
    if extra:
        raise ValueError(f"it is of another architecture, which has {one_line(extra[0])} too")
    # a parameter that layers share may stand under any of its names
    found = {names[name]: tensor for name, tensor in tensors.items()}
    saved = {names[name] for name in network.state_dict()}
    _require_same_network(found, {**own.weights, **own.buffers}, saved)
    return NetworkState(
        {name: found[name] for name in own.weights},
        {name: found.get(name, buffer) for name, buffer in own.buffers.items()},
    ).copy(dtype)


def _names(network: torch.nn.Module) -> dict[str, str]:
    """Return by each name that a tensor of the network has the first of them."""
    own = state_of(network)
    first = {tensor.data_ptr(): name for name, tensor in own.weights.items() if tensor.numel()}
    names = {
        name: first.get(tensor.data_ptr(), name) for name, tensor in network.state_dict().items()
    }
    return {**names, **{name: name for name in (*own.weights, *own.buffers)}}


def _read(path: Path) -> Tensors:
    if not path.exists():
        raise ValueError(f"there is no file {one_line(str(path))}")
    if not path.is_file():
        raise ValueError(f"{one_line(str(path))} is no plain file")
    try:
        if path.suffix == SAFETENSORS:
            return load_file(path)
        with warnings.catch_warnings():
            # of formats that are read all the same
            warnings.simplefilter("ignore")
            found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path.name} is refused: it holds more than tensors, and a pickle can run any code "
            f"({_first_line(error)}). Save the state dict alone: "
            "torch.save(model.state_dict(), ...), or as safetensors"
        ) from None
    except SafetensorError as error:
        raise ValueError(f"{path.name} is damaged, or no safetensors ({error})") from None
    except OSError as error:
        raise ValueError(f"{path.name} cannot be read: {error.strerror or error}") from None
    # whatever a damaged archive makes torch raise
    except Exception as error:
        raise ValueError(
            f"{path.name} is damaged, or no checkpoint ({_first_line(error)})"
        ) from None
    return _state_dict(found, path)


def _first_line(error: Exception) -> str:
    return one_line(error_text(error).strip().split("\n")[0], 120)


def _state_dict(found: Any, path: Path) -> Tensors:
    for name in NESTED:
        if isinstance(found, Mapping) and isinstance(found.get(name), Mapping):
            found = found[name]
            break
    is_state = isinstance(found, Mapping) and all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in found.items()
    )
    if not is_state or not found:
        raise ValueError(
            f"{path.name} holds {type(found).__name__}; expected a state dict, tensors by name, "
            f"or one under {', '.join(NESTED)}"
        )
    return dict(found)


def _unwrapped(tensors: Tensors, network: torch.nn.Module) -> Tensors:
    """Return tensors without the prefix that a wrapper gave all names."""
    expected = network.state_dict()
    for prefix in PREFIXES:
        if (
            all(name.startswith(prefix) for name in tensors)
            and not expected.keys() & tensors.keys()
        ):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


def _require_same_network(found: Tensors, own: Tensors, saved: set[str]) -> None:
    lacking = [name for name in own if name in saved and name not in found]
    if lacking:
        has = one_line(", ".join(list(found)[:4]))
        more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
        raise ValueError(
            f"it is of another architecture: no {lacking[0]}{more}; it holds {has or 'nothing'}"
            + (", ..." if len(found) > 4 else "")
        )
    for name, tensor in found.items():
        if tensor.shape != own[name].shape:
            raise ValueError(
                f"it is of another architecture: {name} has shape {tuple(tensor.shape)}, expected "
                f"{tuple(own[name].shape)}"
            )
        if tensor.is_complex() or tensor.is_sparse or tensor.is_quantized:
            raise ValueError(f"{name} is {tensor.dtype}; expected plain real numbers")
