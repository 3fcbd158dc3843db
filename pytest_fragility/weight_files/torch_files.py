"""Files of `torch.save`: the zip archives of today, and the pickles in a row from before."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

import torch

from pytest_fragility._util.text import one_line
from pytest_fragility.weight_files.formats import UnusableFileError
from pytest_fragility.weight_files.leaves import Leaf, leaves
from pytest_fragility.weight_files.unpickling import (
    Foreign,
    Named,
    Pickled,
    Stored,
    pickle_end,
    unpickled,
)

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
# bytes of a pickle of the number above, whatever the protocol
_LONGEST_NUMBER = 64
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
            root, length = _root(members), path.stat().st_size
            found = unpickled(bytes(_member(archive, members[f"{root}data.pkl"], length)))
            _require_tensors_alone(found)
            room = length
            for key, (width, count) in found.storages.items():
                member, size = members.get(f"{root}data/{key}"), width * count
                if member is None or member.file_size != size:
                    has = "nothing" if member is None else f"{member.file_size:,} bytes"
                    raise UnusableFileError(
                        f"is damaged: its tensors are said to have {size:,} bytes in "
                        f"{one_line(f'data/{key}', 60)}, which has {has}"
                    )
                room -= size
            if room < 0:
                raise UnusableFileError(
                    f"is damaged: its tensors are said to have {length - room:,} bytes, and the "
                    f"file has {length:,}"
                )
            storages = {
                key: _storage(_member(archive, members[f"{root}data/{key}"], length))
                for key in found.storages
            }
            order = members.get(f"{root}byteorder")
            own = sys.byteorder.encode()
            is_swapped = order is not None and _member(archive, order, length) != own
            return _with_tensors(found, storages, is_swapped)


def read_legacy(path: Path) -> list[Leaf]:
    """Return the tensors in the pickles in a row that `torch.save` wrote before 1.6.

    Raises
    ------
    UnusableFileError
        As `read_archive`.
    """
    data = path.read_bytes()
    if pickle_end(data, 0) > _LONGEST_NUMBER or unpickled(data).content != LEGACY_MAGIC:
        raise UnusableFileError(
            "is a pickle that torch.save has not written; save the state dict with "
            "torch.save(model.state_dict(), ...), or as safetensors"
        )
    # a number, the format's version, the machine; then the object, and the order of storages
    parts = [unpickled(data)]
    while len(parts) < 5:
        parts.append(unpickled(data, parts[-1].end))
    _, _, machine, found, keys = parts
    _require_tensors_alone(found)
    if not isinstance(keys.content, list):
        raise UnusableFileError("is damaged: it does not say which storages it has")
    storages, place = {}, keys.end
    for key in map(str, keys.content):
        width, size = found.storages.get(key, (0, 0))
        count, place = int.from_bytes(data[place : place + 8], "little"), place + 8
        end = place + width * count
        if not width or count != size or end > len(data):
            raise UnusableFileError(
                "is damaged, or was not loaded to its end: a storage is missing"
            )
        storages[key] = _storage(bytearray(data[place:end]))
        place = end
    is_little = not isinstance(machine.content, Mapping) or machine.content.get(
        "little_endian", True
    )
    return _with_tensors(found, storages, is_little != (sys.byteorder == "little"))


def _root(members: Collection[str]) -> str:
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


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, length: int) -> bytearray:
    """Return a member's bytes: they stand in the file, as many as there are."""
    if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
        raise UnusableFileError(
            "was compressed, which torch.save never does, and is not unpacked: nothing says "
            "how large it is. Unpack it and save it with torch.save, or as safetensors"
        )
    # without the folder that all are in: the file's name when saved
    within = one_line(member.filename.partition("/")[2], 60)
    # torch writes zero where it was told to count none
    if not member.CRC:
        member.CRC = None  # type: ignore[assignment]
    try:
        if member.file_size > length:
            raise ValueError("larger than its file")
        opened = archive.open(member)
    # whatever damage makes of where it is said to be
    except Exception:
        raise UnusableFileError(f"is damaged: {within} is not where it is said to be") from None
    try:
        with opened:
            return bytearray(opened.read())
    except (zipfile.BadZipFile, EOFError):
        raise UnusableFileError(f"is damaged: {within} has another checksum than is said") from None


def _storage(content: bytearray) -> torch.UntypedStorage:
    if not content:
        return torch.empty(0, dtype=torch.uint8, device="cpu").untyped_storage()
    return torch.frombuffer(content, dtype=torch.uint8).untyped_storage()


def _leaves(found: Pickled) -> list[Leaf]:
    return list(leaves(found.content)) if isinstance(found.content, dict | list | tuple) else []


def _require_tensors_alone(found: Pickled) -> None:
    """Raise an UnusableFileError where something is found that only code could make."""
    if not found.foreign:
        return
    places: dict[str, str] = {}
    for leaf in _leaves(found):
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
    for leaf in _leaves(found):
        if isinstance(leaf.value, Stored):
            key = leaf.value.key
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
