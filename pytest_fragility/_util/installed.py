"""Whose code a module holds: that of an installed distribution, Python's, or one's own."""

from __future__ import annotations

import csv
import hashlib
import os
import re
import sys
import sysconfig
from functools import cache
from importlib import metadata, util
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

PYTHON = "Python"
# what trains networks is never one's own, even where it was copied without its metadata
REQUIRED = ("numpy", "pytest_fragility", "torch")


def is_installed_module(name: str | None) -> bool:
    """Return whether a module, by name, is of an installed package, or of Python itself."""
    return owner_of(name) is not None


def is_compiled_module(name: str) -> bool:
    """Return whether a module, by name, is a library of machine code."""
    file = _file_of(name)
    return file is not None and file.endswith(tuple(EXTENSION_SUFFIXES))


def owner_of(name: str | None) -> str | None:
    """Return which distribution a module belongs to, with its version; None for one's own code.

    Python's own modules belong to ``Python``. A distribution owns the files that it lists, wherever
    they lie. One that was installed to be edited owns none: its code changes, and its version does
    not. For the same reason a digest of its files stands beside the version of one that consists of
    Python files alone, or comes from no index.

    Parameters
    ----------
    name
        The module's; it need not be imported. None stands for what has no module, as methods of
        built-in objects.
    """
    if name is None:
        return PYTHON
    top = name.partition(".")[0]
    if top in REQUIRED:
        return _required(top)
    # what a package makes up while it is imported has no file, and is the package's
    while name:
        file = _file_of(name)
        if file is not None:
            return _owner_of_file(name, file)
        if name in sys.builtin_module_names or _is_frozen(name):
            return PYTHON
        name = name.rpartition(".")[0]
    return None


def _file_of(name: str) -> str | None:
    """Return a module's file; None where it has none, or it was never found as a file is."""
    if name in sys.modules:
        file = getattr(sys.modules[name], "__file__", None)
        return file if isinstance(file, str) and Path(file).is_absolute() else None
    try:
        spec = util.find_spec(name) if "." not in name else None
    except (ImportError, ValueError):
        return None
    return spec.origin if spec and spec.has_location else None


def _is_frozen(name: str) -> bool:
    spec = getattr(sys.modules.get(name), "__spec__", None)
    return getattr(spec, "origin", None) == "frozen" and name in sys.stdlib_module_names


@cache
def _required(top: str) -> str:
    file = _file_of(top)
    return (_owner_of_file(top, file) if file else None) or top


@cache
def _owner_of_file(name: str, file: str) -> str | None:
    top, path = name.partition(".")[0], Path(file)
    if top in sys.stdlib_module_names and any(path.is_relative_to(f) for f in _standard_folders()):
        return PYTHON
    # a package may be linked to from a folder that knows nothing of it
    for each in dict.fromkeys((path, path.resolve())):
        place = _split(name, each)
        for distribution in _distributions(place[0], top) if place else ():
            if place and _owns(distribution, *place):
                return f"{distribution.metadata['Name']} {_version(distribution)}"
    return None


@cache
def _standard_folders() -> list[Path]:
    """Return the folders and archives that Python's own modules stand in."""
    base = {"base": sys.base_prefix, "platbase": sys.base_exec_prefix}
    folders = [
        Path(os.__file__).parent,
        *(Path(sysconfig.get_path(kind, vars=base)) for kind in ("stdlib", "platstdlib")),
        # on Windows
        Path(sys.base_exec_prefix, "DLLs"),
    ]
    archive = "python{}{}.zip".format(*sys.version_info)
    folders += [Path(e) for e in sys.path if isinstance(e, str) and Path(e).name == archive]
    return [*folders, *(each.resolve() for each in folders)]


def _split(name: str, file: Path) -> tuple[Path, str] | None:
    """Return the folder or archive that a module was found in, and its file in there.

    None where the file is not called as the module is.
    """
    parts = name.split(".")
    if file.name.partition(".")[0] == "__init__":
        parts.append("__init__")
    found = [*file.parts[-len(parts) : -1], file.name.partition(".")[0]]
    if found != parts:
        return None
    return file.parents[len(parts) - 1], "/".join(file.parts[-len(parts) :])


@cache
def _named_distributions(root: Path) -> list[tuple[str, metadata.Distribution]]:
    found = []
    for each in metadata.distributions(path=[str(root)]):
        try:
            head: Any = each.metadata
        # older tools wrote other encodings, and what was removed may leave an empty folder behind,
        # which the backport importlib_metadata tells by an OSError
        except (UnicodeDecodeError, ImportError, OSError):
            continue
        if head and head.get("Name") and head.get("Version"):
            found.append((_plain(head["Name"]), each))
    return found


def _distributions(root: Path, top: str) -> list[metadata.Distribution]:
    """Return the distributions in a folder or archive, those called as a package first."""
    wanted = _plain(top)
    named = sorted(_named_distributions(root), key=lambda each: each[0] != wanted)
    return [distribution for _, distribution in named]


def _owns(distribution: metadata.Distribution, root: Path, inside: str) -> bool:
    """Return whether a distribution has installed a file, by its path from the root."""
    if re.search(r'"editable"\s*:\s*true', distribution.read_text("direct_url.json") or ""):
        return False
    record = _record(distribution)
    if record:
        return inside in record
    listed = distribution.read_text("installed-files.txt")
    if listed:
        return f"../{inside}" in listed.splitlines()
    # of what other package managers install, no file may be listed
    name, top = _plain(distribution.metadata["Name"]), inside.partition("/")[0]
    if any(_plain(found.stem) == name for found in root.glob("*.egg-info")):
        # without a version in its name, it stands beside sources
        return False
    tops = distribution.read_text("top_level.txt")
    module = top.partition(".")[0]
    return module in tops.split() if tops else _plain(module) == name


@cache
def _record(distribution: metadata.Distribution) -> dict[str, list[str]]:
    """Return what a distribution says of each of its files, its digest first."""
    try:
        lines = (distribution.read_text("RECORD") or "").splitlines()
        return {line[0]: line[1:] for line in csv.reader(lines) if line}
    except (UnicodeDecodeError, csv.Error):
        return {}


def _version(distribution: metadata.Distribution) -> str:
    wheel = distribution.read_text("WHEEL") or ""
    is_pure = "Root-Is-Purelib: true" in wheel
    if not is_pure and not distribution.read_text("direct_url.json"):
        return distribution.version
    digest = hashlib.sha256()
    for file, said in sorted(_record(distribution).items()):
        # scripts are written anew for each interpreter
        if file.endswith(".py") and not file.startswith(".."):
            digest.update(f"{','.join([file, *said])}\n".encode())
    return f"{distribution.version} {digest.hexdigest()}"


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower())
