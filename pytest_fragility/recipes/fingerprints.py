"""What a function computes, as a digest: it changes where the code does, and not with comments.

Read off the compiled code, of the function and of everything of the user's own that it refers to.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import sys
import sysconfig
import types
from typing import Any

from pytest_fragility.errors import SettingsError

PLAIN = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis))
# of no consequence for what a class does
UNREAD = frozenset(
    (
        "__annotate__",
        "__annotations__",
        "__annotations_cache__",
        "__dict__",
        "__doc__",
        "__firstlineno__",
        "__module__",
        "__qualname__",
        "__static_attributes__",
        "__weakref__",
        "__dataclass_fields__",
        "__dataclass_params__",
    )
)
INSTALLED = tuple(
    sysconfig.get_path(place) for place in ("stdlib", "platstdlib", "purelib", "platlib")
)


def code_fingerprint(function: Any) -> str:
    """Return a digest of a function's or a class's code, 64 hexadecimal digits.

    Covers constants, defaults, closures, and the functions, classes and constants that the code
    refers to by name; of installed packages, their names and versions alone.

    Raises
    ------
    SettingsError
        If it rests on an object that cannot be told from another.
    """
    text = json.dumps(_Reader().read(function), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


class _Reader:
    """Puts everything that code rests on into plain JSON types."""

    def __init__(self) -> None:
        self._places: dict[int, int] = {}
        self._kept_alive: list[Any] = []

    def read(self, value: Any) -> Any:
        """Return a description that equal values share."""
        if isinstance(value, PLAIN):
            return [type(value).__name__, repr(value)]
        if isinstance(value, types.ModuleType):
            return ["module", value.__name__]
        if id(value) in self._places:
            return ["seen", self._places[id(value)]]
        self._places[id(value)] = len(self._places)
        self._kept_alive.append(value)
        return self._read_once(value)

    def _read_once(self, value: Any) -> Any:
        if isinstance(value, types.CodeType):
            constants = [self.read(each) for each in value.co_consts]
            return ["code", value.co_code.hex(), list(value.co_names), constants]
        if isinstance(value, tuple | list):
            return [type(value).__name__, [self.read(each) for each in value]]
        if isinstance(value, set | frozenset):
            return ["set", sorted(json.dumps(self.read(each)) for each in value)]
        if isinstance(value, dict | types.MappingProxyType):
            return ["dict", [[self.read(key), self.read(part)] for key, part in value.items()]]
        if isinstance(value, functools.partial):
            return ["partial", *map(self.read, (value.func, value.args, value.keywords))]
        if isinstance(value, types.MethodType):
            return ["method", self.read(value.__func__), self.read(value.__self__)]
        if isinstance(value, staticmethod | classmethod):
            return [type(value).__name__, self.read(value.__func__)]
        if isinstance(value, property):
            return ["property", *map(self.read, (value.fget, value.fset))]
        if isinstance(value, type | types.FunctionType | types.BuiltinFunctionType):
            return self._read_definition(value)
        return self._read_object(value)

    def _read_definition(self, value: Any) -> Any:
        if is_installed(value):
            return ["installed", *_package(value), value.__qualname__]
        if isinstance(value, type):
            parts = {k: self.read(v) for k, v in sorted(vars(value).items()) if k not in UNREAD}
            return ["class", [self.read(base) for base in value.__bases__], parts]
        return self._read_function(value)

    def _read_function(self, function: types.FunctionType) -> Any:
        names = sorted(_names_in(function.__code__) & function.__globals__.keys())
        cells = [content for cell in function.__closure__ or () for content in _contents(cell)]
        return [
            "function",
            self.read(function.__code__),
            self.read(function.__defaults__),
            self.read(function.__kwdefaults__),
            [self.read(content) for content in cells],
            {name: self.read(function.__globals__[name]) for name in names},
        ]

    def _read_object(self, value: Any) -> Any:
        kind = self.read(type(value))
        if dataclasses.is_dataclass(value):
            return [kind, [self.read(getattr(value, f.name)) for f in dataclasses.fields(value)]]
        if hasattr(value, "numpy") or hasattr(value, "tobytes"):
            array = value.detach().cpu().numpy() if hasattr(value, "detach") else value
            content = hashlib.sha256(array.tobytes()).hexdigest()
            return [kind, str(array.dtype), list(array.shape), content]
        if not is_installed(type(value)):
            return [kind, self.read(getattr(value, "__dict__", {}))]
        if " at 0x" in repr(value) or f"{id(value):x}" in repr(value):
            raise SettingsError(
                f"an architecture's function rests on {value!r}, of which it cannot be told "
                "whether it is the same the next time; give the architecture a version of its "
                "own: Factory(function, version='1')"
            )
        return [kind, repr(value)]


def _names_in(code: types.CodeType) -> set[str]:
    """Return the names that code, and functions defined inside it, may look up."""
    inner = [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return set(code.co_names).union(*map(_names_in, inner))


def _contents(cell: types.CellType) -> list[Any]:
    """Return what a closure holds; nothing where it is given its value later."""
    try:
        return [cell.cell_contents]
    except ValueError:
        return []


def is_installed(value: Any) -> bool:
    """Return whether a function or class is of an installed package, or of Python itself."""
    return is_installed_module(value.__module__)


def is_installed_module(name: str | None) -> bool:
    """Return whether a module, by name, is of an installed package, or of Python itself."""
    file = getattr(sys.modules.get(name or "builtins"), "__file__", None)
    is_built_in = file is None and name in (None, *sys.builtin_module_names)
    return is_built_in or (file is not None and file.startswith(INSTALLED))


def _package(value: Any) -> tuple[str, str]:
    module = str(value.__module__)
    package = sys.modules.get(module.partition(".")[0])
    return module, str(getattr(package, "__version__", ""))
