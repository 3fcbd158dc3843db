"""What code looks up and imports, and what objects hold."""

from __future__ import annotations

import dis
import sys
import types
from collections.abc import Iterator
from functools import cached_property
from importlib import util
from inspect import getattr_static
from typing import Any

IMPORT = dis.opmap["IMPORT_NAME"]


def names_in(code: types.CodeType) -> set[str]:
    """Return the names that code, and what is defined inside it, may look up."""
    return {name for each in _codes_in(code) for name in each.co_names}


def imports_in(code: types.CodeType, package: Any) -> list[str]:
    """Return the modules that a function's code imports, and what it takes from them.

    That may be modules, too. `package` is the ``__package__`` of the function's module.
    """
    found: dict[str, None] = {}
    for each in _codes_in(code):
        recent: list[Any] = [0, None]
        for instruction in dis.get_instructions(each) if IMPORT in each.co_code[::2] else ():
            if instruction.opcode == IMPORT:
                level, taken = recent[-2:]
                name = str(instruction.argval)
                if level:
                    name = util.resolve_name("." * level + name, package)
                found[name] = None
                found.update(dict.fromkeys(f"{name}.{part}" for part in taken or ()))
            elif instruction.opname != "EXTENDED_ARG":
                recent.append(instruction.argval)
    return list(found)


def _codes_in(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes_in(constant)


def contents_of(cells: Any) -> list[Any]:
    """Return what a function closes over, without what is given its value later."""
    found = []
    for cell in cells or ():
        try:
            found.append(cell.cell_contents)
        except ValueError:
            continue
    return found


def attributes_of(value: Any) -> dict[str, Any]:
    """Return an object's attributes, those in slots too, without what it works out of them."""
    kept = getattr(value, "__dict__", {})
    found = {name: kept[name] for name in kept if not _is_worked_out(type(value), name)}
    for kind in type(value).__mro__:
        for name, slot in vars(kind).items():
            if isinstance(slot, types.MemberDescriptorType) and hasattr(value, name):
                found.setdefault(name, getattr(value, name))
    return found


def _is_worked_out(kind: type, name: Any) -> bool:
    is_name = isinstance(name, str)
    return is_name and isinstance(getattr_static(kind, name, None), cached_property)


def reduces_by_itself(kind: type) -> bool:
    """Return whether a class has something to say on how its objects are pickled."""
    names = "__reduce_ex__", "__reduce__", "__getstate__"
    return any(getattr(kind, name, None) is not getattr(object, name, None) for name in names)


def part_of_module(module: types.ModuleType, name: str) -> list[Any]:
    """Return what a module holds under a name, also by its ``__getattr__``, if anything."""
    if name in vars(module):
        return [vars(module)[name]]
    if "__getattr__" not in vars(module):
        return []
    try:
        return [getattr(module, name)]
    # whatever it raises for what it does not know
    except Exception:
        return []


def is_of_module(function: types.FunctionType, name: Any) -> bool:
    """Return whether a function looks its names up in the module of this name."""
    module = sys.modules.get(name) if isinstance(name, str) else None
    return getattr(module, "__dict__", None) is function.__globals__


def is_called(value: Any, module: Any, name: str) -> bool:
    """Return whether a function, class or object is what stands in a module under this name."""
    found: Any = sys.modules.get(module) if isinstance(module, str) else None
    for part in name.split("."):
        found = getattr(found, part, None)
    return found is value


def homes_of(value: Any, name: str) -> list[str]:
    """Return all modules that hold an object under this name."""
    loaded = sorted(each for each, module in sys.modules.items() if module is not None)
    return [each for each in loaded if vars_of(each).get(name) is value]


def vars_of(module: str) -> dict[str, Any]:
    """Return what an imported module holds."""
    found = getattr(sys.modules[module], "__dict__", {})
    return found if isinstance(found, dict) else {}
