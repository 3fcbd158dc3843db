"""Files of `torch.save`: the zip archives of today, and the pickles in a row from before."""

from __future__ import annotations

import sys
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import torch

from pytest_fragility._util.text import one_line
from pytest_fragility.weight_files.leaves import Leaf, leaves
from pytest_fragility.weight_files.unpickling import (
    Foreign,
    Named,
    Pickled,
    Stored,
    pickle_end,
    unpickled,
)
from pytest_fragility.weight_files.unusable import UnusableFileError

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
# bytes of a pickle of the number above, whatever the protocol
_LONGEST_NUMBER = 64
_LOCAL_HEADER = 30
_MOST_NAMED = 3


def read_archive(path: Path) -> list[Leaf]:
    """Return the tensors in a zip archive of `torch.save`, on the CPU.

    Raises
    ------
    UnusableFileError
        If it is another archive, is damaged, or holds more than tensors.
    """
    with path.open("rb") as file:
        try:
            archive = zipfile.ZipFile(file)
        # cut short, or a directory that is none
        except Exception as error:
            raise UnusableFileError(f"is damaged, or was not loaded to its end ({error})") from None
        with archive:
            members = {each.filename: each for each in archive.infolist()}
            root = _root(members)
            parts = _Parts(file, members, path.stat().st_size)
            found = _accepted(unpickled(bytes(parts.read(f"{root}data.pkl"))))
            order = f"{root}byteorder"
            is_swapped = order in members and parts.read(order).decode("latin1") != sys.byteorder
            sizes = {key: width * count for key, (width, count) in found.storages.items()}
            names = {key: f"{root}data/{key}" for key in sizes}
            parts.require_room({names[key]: size for key, size in sizes.items()})
            storages = {key: _storage(parts.read(name)) for key, name in names.items()}
            return _with_tensors(found, storages, is_swapped)


def read_legacy(path: Path) -> list[Leaf]:
    """Return the tensors in the pickles in a row that `torch.save` wrote before 1.6.

    Raises
    ------
    UnusableFileError
        As `read_archive`.
    """
    data = path.read_bytes()
    parts: list[bytes] = []
    place = 0
    # a number, the format's version, the machine; then the object, and the order of storages
    while len(parts) < 5:
        end = pickle_end(data, place)
        parts.append(data[place:end])
        place = end
        if len(parts) == 1 and (
            end > _LONGEST_NUMBER or unpickled(parts[0]).content != LEGACY_MAGIC
        ):
            raise UnusableFileError(
                "is a pickle that torch.save has not written; save the state dict with "
                "torch.save(model.state_dict(), ...), or as safetensors"
            )
    machine, found, keys = unpickled(parts[2]).content, unpickled(parts[3]), unpickled(parts[4])
    _accepted(found)
    storages = {}
    if not isinstance(keys.content, list):
        raise UnusableFileError("is damaged: it does not say which storages it has")
    for key in map(str, keys.content):
        width, size = found.storages.get(key, (0, 0))
        count = int.from_bytes(data[place : place + 8], "little")
        place += 8
        if not width or count != size or place + width * count > len(data):
            raise UnusableFileError(
                "is damaged, or was not loaded to its end: a storage is missing"
            )
        storages[key] = _storage(bytearray(data[place : place + width * count]))
        place += width * count
    is_little = not isinstance(machine, Mapping) or machine.get("little_endian", True)
    return _with_tensors(found, storages, is_little != (sys.byteorder == "little"))


def _root(members: Mapping[str, Any]) -> str:
    """Return the folder in the archive that all is in."""
    roots = [
        name.removesuffix("data.pkl")
        for name in members
        if name.endswith("/data.pkl") and name.count("/") == 1
    ]
    if len(roots) == 1:
        if f"{roots[0]}constants.pkl" in members:
            raise UnusableFileError(
                "is a TorchScript archive, which holds code; save its state dict alone: "
                "torch.save(torch.jit.load(...).state_dict(), ...)"
            )
        return roots[0]
    if members and all(name.endswith(".npy") for name in members):
        raise UnusableFileError(
            "is NumPy's .npz archive; save tensors by name: safetensors, torch.save"
        )
    if any(name.endswith(".weights.h5") for name in members):
        raise UnusableFileError("is a Keras archive; expected a state dict of torch")
    if any(
        name.endswith(("archive_format", "serialized_exported_program.json")) for name in members
    ):
        raise UnusableFileError("is a program of torch.export; save the module's state dict alone")
    holds = ", ".join(one_line(name, 60) for name in list(members)[:_MOST_NAMED])
    raise UnusableFileError(f"is a zip archive of {holds or 'nothing'}; expected one of torch.save")


class _Parts:
    """The members of an archive, as they lie in its file."""

    def __init__(self, file: BinaryIO, members: Mapping[str, zipfile.ZipInfo], length: int) -> None:
        self._file = file
        self._members = members
        self._length = length

    def require_room(self, sizes: Mapping[str, int]) -> None:
        """Raise an UnusableFileError unless members are there, as large as tensors say."""
        total = 0
        for name, size in sizes.items():
            member = self._members.get(name)
            if member is None or member.file_size != size:
                has = "nothing" if member is None else f"{member.file_size:,} bytes"
                raise UnusableFileError(
                    f"is damaged: its tensors are said to have {size:,} bytes in "
                    f"{_within(name)}, which has {has}"
                )
            total += size
        if total > self._length:
            raise UnusableFileError(
                f"is damaged: its tensors are said to have {total:,} bytes, and the file has "
                f"{self._length:,}"
            )

    def read(self, name: str) -> bytearray:
        """Return a member's bytes: they stand in the file, as many as there are."""
        member = self._members[name]
        if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
            raise UnusableFileError(
                "was compressed, which torch.save never does, and is not unpacked: nothing says "
                "how large it is. Unpack it and save it with torch.save, or as safetensors"
            )
        # an offset that is damaged may lie before the file's beginning
        self._file.seek(max(0, member.header_offset))
        header = self._file.read(_LOCAL_HEADER)
        skipped = sum(int.from_bytes(header[place : place + 2], "little") for place in (26, 28))
        start = member.header_offset + _LOCAL_HEADER + skipped
        if header[:4] != b"PK\3\4" or start + member.file_size > self._length:
            raise UnusableFileError(f"is damaged: {_within(name)} is not where it is said to be")
        self._file.seek(start)
        content = bytearray(member.file_size)
        read: int = self._file.readinto(content)  # type: ignore[attr-defined]
        # torch writes zero where it was told to count none
        if read < len(content) or (member.CRC and zlib.crc32(content) != member.CRC):
            raise UnusableFileError(
                f"is damaged: {_within(name)} has another checksum than is said"
            )
        return content


def _within(name: str) -> str:
    """Return a member's name without the folder that all are in: the file's name when saved."""
    return one_line(name.partition("/")[2], 60)


def _storage(content: bytearray) -> torch.UntypedStorage:
    if not content:
        return torch.empty(0, dtype=torch.uint8, device="cpu").untyped_storage()
    return torch.frombuffer(content, dtype=torch.uint8).untyped_storage()


def _accepted(found: Pickled) -> Pickled:
    """Return what was found, if there is nothing in it that only code could make."""
    if not found.foreign:
        return found
    places: dict[str, str] = {}
    if isinstance(found.content, dict | list | tuple):
        for leaf in leaves(found.content):
            if isinstance(leaf.value, Foreign):
                places.setdefault(leaf.value.full_name, one_line(".".join(leaf.path), 60))
    named = [
        f"{one_line(name, 80)}{f' (under {places[name]})' if name in places else ''}"
        for name in found.foreign
    ]
    more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
    raise UnusableFileError(
        f"is refused: it holds more than tensors, and a pickle can run any code: "
        f"{', '.join(named[:_MOST_NAMED])}{more}. Save the state dict alone: "
        "torch.save(model.state_dict(), ...), or as safetensors"
    )


def _with_tensors(
    found: Pickled, storages: Mapping[str, torch.UntypedStorage], is_swapped: bool
) -> list[Leaf]:
    """Return the tensors in what was found, with the numbers that they have in the file."""
    swapped: set[str] = set()
    tensors = []
    if isinstance(found.content, dict | list | tuple):
        for leaf in leaves(found.content):
            if isinstance(leaf.value, Stored):
                key = leaf.value.storage.key
                if key not in storages:
                    raise UnusableFileError("is damaged: a storage is missing")
                if is_swapped and key not in swapped:
                    storages[key].byteswap(leaf.value.dtype)  # type: ignore[no-untyped-call]
                    swapped.add(key)
                tensors.append(replace(leaf, value=leaf.value.tensor(storages[key])))
    if not tensors:
        holds = {Named: "dict", Stored: "one tensor"}.get(
            type(found.content), type(found.content).__name__
        )
        raise UnusableFileError(f"holds {holds}; expected a state dict, tensors by name")
    return tensors
