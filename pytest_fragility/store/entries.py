"""One trained run as bytes: a safetensors file whose metadata hold a checksum of all of it."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from pytest_fragility.networks import NetworkState
from pytest_fragility.networks.runs import Run, TrainedRun, TrainingRecord
from pytest_fragility.store.entry_validation import Expected, read_record, require_states

# of which state, and which part of it: what stands in front of the names of its tensors
PREFIXES = {
    ("state", "weights"): "weights/",
    ("initial_state", "weights"): "initial/",
    ("state", "buffers"): "buffers/",
    ("initial_state", "buffers"): "initial buffers/",
}
MISTAKEN = "mistaken test samples, eight to a byte"

# of the header, which safetensors begins with its length
LENGTH_BYTES = 8
LONGEST_HEADER = 1 << 24
NO_CHECKSUM = "0" * 64
# a quotation mark inside of a JSON string has a backslash before it, so that no text can hold this
CHECKSUM = re.compile(rb'"sha256":"([0-9a-f]{64})"')


class DamagedEntryError(ValueError):
    """What stands in an entry is not what was written, or not by this version."""


def encode(trained: TrainedRun) -> bytes:
    """Return a trained run as the bytes of a safetensors file.

    Its metadata are ``record`` and ``run``, as JSON, and ``sha256``, the digest of the file with
    zeros in this field's place.
    """
    tensors = {
        prefix + name: tensor
        for (state, part), prefix in PREFIXES.items()
        for name, tensor in getattr(getattr(trained, state), part).items()
    }
    tensors[MISTAKEN] = torch.from_numpy(np.packbits(trained.mistaken.numpy()))
    metadata = {
        "record": json.dumps(trained.record.to_dict()),
        "run": json.dumps({"task": trained.run.task.name, **trained.run.identity}),
        "sha256": NO_CHECKSUM,
    }
    return seal(save(tensors, metadata))


def seal(data: bytes) -> bytes:
    """Return the bytes of a safetensors file with the checksum in its metadata's place for it."""
    digest = hashlib.sha256(_with_checksum(data, NO_CHECKSUM)).hexdigest()
    return _with_checksum(data, digest)


def decode(data: bytes, run: Run, expected: Expected) -> TrainedRun:
    """Return the trained run that `encode` has made these bytes of.

    Raises
    ------
    DamagedEntryError
        If they are anything else, or those of another run.
    """
    require_checksum(data)
    try:
        record = read_record(read_metadata(data), expected)
        tensors = load(data)
        parts = {
            place: {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
            for place, prefix in PREFIXES.items()
        }
        state, initial = (
            NetworkState(parts[which, "weights"], parts[which, "buffers"])
            for which in ("state", "initial_state")
        )
        require_states(state, initial, expected, record.diverged)
        mistaken = _unpack(tensors[MISTAKEN], record)
    except (SafetensorError, KeyError, ValueError) as error:
        raise DamagedEntryError(str(error)) from error
    return TrainedRun(run, state, initial, record, mistaken)


def require_checksum(data: bytes) -> None:
    """Raise a DamagedEntryError unless every byte is as it was written."""
    header = data[: header_bytes(data)]
    if not CHECKSUM.search(header):
        raise DamagedEntryError("it has no checksum")
    if seal(data) != data:
        raise DamagedEntryError("its checksum is not that of its contents")


def read_metadata(data: bytes) -> dict[str, Any]:
    """Return the metadata of an entry, of which the header suffices.

    Raises
    ------
    DamagedEntryError
        If there are none.
    """
    header = data[LENGTH_BYTES : header_bytes(data)]
    try:
        metadata: dict[str, Any] = json.loads(header)["__metadata__"]
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise DamagedEntryError(f"it has no metadata ({error})") from error
    return metadata


def run_of(metadata: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return what a stored run's task was called, and what decided it but for its environment."""
    described: dict[str, Any] = json.loads(metadata["run"])
    return str(described.pop("task")), described


def header_bytes(start: bytes) -> int:
    """Return how many bytes an entry's header takes, by its first eight.

    Raises
    ------
    DamagedEntryError
        If that is no length of a header.
    """
    length = int.from_bytes(start[:LENGTH_BYTES], "little")
    if len(start) < LENGTH_BYTES or length > LONGEST_HEADER:
        raise DamagedEntryError("it is no safetensors file")
    return LENGTH_BYTES + length


def _with_checksum(data: bytes, digest: str) -> bytes:
    return CHECKSUM.sub(f'"sha256":"{digest}"'.encode(), data, count=1)


def _unpack(packed: torch.Tensor, record: TrainingRecord) -> torch.Tensor:
    """Return which test samples were mistaken.

    Raises
    ------
    ValueError
        If that contradicts the record.
    """
    if packed.dtype != torch.uint8 or packed.shape != (-(-record.test_size // 8),):
        raise ValueError(f"its mistakes are not those on {record.test_size} test samples")
    bits = np.unpackbits(packed.numpy())
    mistaken = bits[: record.test_size].astype(np.bool_)
    if bits.sum() != record.test_mistakes or mistaken.sum() != record.test_mistakes:
        raise ValueError(f"its mistakes are not the {record.test_mistakes} of its record")
    return torch.from_numpy(mistaken)
