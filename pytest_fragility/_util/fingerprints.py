"""What a function computes, as a digest: it changes where the code does, and not with comments.

Read off the compiled code, of the function and of everything of the user's own that it refers to.
"""

from __future__ import annotations

import copyreg
import functools
import hashlib
import inspect
import json
import sys
import types
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from pytest_fragility._util.code_parts import (
    attributes_of,
    contents_of,
    homes_of,
    imports_in,
    is_called,
    is_of_module,
    names_in,
    part_of_module,
    reduces_by_itself,
)
from pytest_fragility._util.installed import is_compiled_module, owner_of
from pytest_fragility._util.text import error_text, shown
from pytest_fragility.errors import SettingsError

# longer values are written as their digest
LONGEST = 64
# of no consequence for what a class, function or module does
UNREAD = frozenset(
    (
        "__annotate__",
        "__annotate_func__",
        "__annotations__",
        "__annotations_cache__",
        "__builtins__",
        "__cached__",
        "__dataclass_fields__",
        "__dataclass_params__",
        "__dict__",
        "__doc__",
        "__file__",
        "__firstlineno__",
        "__loader__",
        "__module__",
        "__name__",
        "__orig_bases__",
        "__parameters__",
        "__path__",
        "__qualname__",
        # written by pickling
        "__slotnames__",
        "__spec__",
        "__static_attributes__",
        "__type_params__",
        "__weakref__",
        "_abc_impl",
    )
)
# methods and attributes that are compiled: they are what they are called
COMPILED = (
    types.ClassMethodDescriptorType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
)


def code_fingerprint(function: Any) -> str:
    """Return a digest of a function's or a class's code, 64 hexadecimal digits.

    Covers constants, defaults, closures, attributes, and the functions, classes, modules and values
    that the code refers to by name, by what they hold; of installed packages, their names and
    versions alone.

    Raises
    ------
    SettingsError
        If it rests on an object that cannot be told from another.
    """
    try:
        text = json.dumps(_Reader().read_all(function), sort_keys=True)
    except SettingsError:
        raise
    # whatever objects of somebody else's raise where they are looked at, or nested too deeply
    except Exception as error:
        raise _not_told(function, error_text(error)) from error
    return hashlib.sha256(text.encode()).hexdigest()


def _not_told(value: Any, reason: str) -> SettingsError:
    return SettingsError(
        f"an architecture's function rests on {shown(value)}, of which it cannot be told whether "
        f"it is the same the next time ({reason}); give the architecture a version of its own: "
        "Factory(function, version='1')"
    )


class _Reader:
    """Puts everything that code rests on into plain JSON types."""

    def __init__(self) -> None:
        # addresses of what is held here as long, in the order in which it was met
        self._places: dict[int, int] = {}
        self._kept_alive: list[Any] = []
        # all names that code looks up, and of modules that code refers to, which are theirs
        self._names: set[str] = set()
        self._modules: dict[str, tuple[types.ModuleType, set[str]]] = {}

    def read_all(self, function: Any) -> Any:
        """Return a description of a function and of what it uses of one's own modules."""
        return [self.read(function), list(self._parts_of_modules())]

    def read(self, value: Any) -> Any:
        """Return a description that equal values share."""
        if value is None or value is Ellipsis or value is NotImplemented:
            return ["constant", str(value)]
        kind = type(value)
        if kind in (bool, int):
            return [kind.__name__, hex(value)]
        if kind in (float, complex):
            # the shortest digits that no other number has
            return [kind.__name__, str(value)]
        if kind in (str, bytes):
            return [kind.__name__, _short(value)]
        if issubclass(kind, types.ModuleType):
            return self._read_module(value, self._names)
        # what cannot change may be one object or several that are equal
        if kind is tuple:
            return ["tuple", [self.read(each) for each in value]]
        if kind is frozenset:
            return ["frozenset", self._read_set(value)]
        if kind is types.CodeType:
            return self._read_code(value)
        if id(value) in self._places:
            return ["seen", self._places[id(value)]]
        self._places[id(value)] = len(self._places)
        self._kept_alive.append(value)
        return self._read_once(value)

    def _read_once(self, value: Any) -> Any:
        # an object may say that it is of another class
        kind = type(value)
        if kind is list:
            return ["list", [self.read(each) for each in value]]
        if kind is set:
            return ["set", self._read_set(value)]
        if kind in (dict, types.MappingProxyType):
            return ["dict", [[self.read(key), self.read(part)] for key, part in value.items()]]
        if kind is types.MethodType:
            owner = _owner_of_called(value, value.__name__)
            if owner is not None:
                return ["called", owner, value.__name__]
            return ["method", self.read(value.__func__), self.read(value.__self__)]
        if kind is types.CellType:
            return ["cell", self.read(contents_of([value]))]
        if issubclass(kind, staticmethod | classmethod):
            return [kind.__name__, self.read(value.__func__)]
        if issubclass(kind, property):
            return ["property", *map(self.read, (value.fget, value.fset, value.fdel))]
        if issubclass(kind, functools.cached_property):
            return ["cached property", self.read(value.func)]
        if issubclass(kind, functools.partial):
            parts = value.func, value.args, value.keywords, vars(value)
            return [self.read(kind), *map(self.read, parts)]
        if issubclass(kind, COMPILED):
            return ["compiled", self.read(value.__objclass__), value.__name__]
        if issubclass(kind, types.BuiltinFunctionType | types.MethodWrapperType):
            return self._read_builtin(value)
        if issubclass(kind, types.FunctionType):
            return self._read_function(value)
        if issubclass(kind, type):
            return self._read_class(value)
        return self._read_object(value)

    def _read_set(self, value: set[Any] | frozenset[Any]) -> list[str]:
        """Read each element as if it were the first, since sets have no order."""
        places, found = self._places, []
        for each in value:
            self._places = dict(places)
            found.append(json.dumps(self.read(each), sort_keys=True))
        self._places = places
        return sorted(found)

    def _read_module(self, module: types.ModuleType, names: set[str]) -> Any:
        """Read a module, of which code uses no more than what has these names."""
        name = module.__name__
        owner = owner_of(name)
        if owner is not None:
            return ["installed module", owner, name]
        if is_compiled_module(name):
            content = Path(str(module.__file__)).read_bytes()
            return ["compiled module", hashlib.sha256(content).hexdigest()]
        _, known = self._modules.get(name, (module, set()))
        self._modules[name] = module, names if names is self._names else known | names
        return ["module", name]

    def _parts_of_modules(self) -> Iterator[Any]:
        """Yield what one's own modules hold under names that code looks up, until there is none."""
        known: set[tuple[str, str]] = set()
        while True:
            found = self._modules.items()
            asked = {(module, name) for module, (_, names) in found for name in names - UNREAD}
            if asked <= known:
                return
            for place, name in sorted(asked - known):
                module, names = self._modules[place]
                for part in part_of_module(module, name):
                    yield [place, name, self._read_used(name, part, names)]
            known |= asked

    def _read_code(self, code: types.CodeType) -> Any:
        self._names.update(code.co_names)
        arguments = code.co_argcount + code.co_kwonlyargcount
        return [
            "code",
            _short(code.co_code),
            _short(getattr(code, "co_exceptiontable", b"")),
            list(code.co_names),
            [code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount],
            code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS),
            # an argument can be handed over by its name
            list(code.co_varnames[:arguments]),
            [self.read(each) for each in code.co_consts],
        ]

    def _read_builtin(self, value: Any) -> Any:
        """Read a built-in function, which is what it is called, and what it is bound to."""
        module, bound = getattr(value, "__module__", None), value.__self__
        if isinstance(bound, types.ModuleType):
            module, bound = bound.__name__, None
        elif bound is not None:
            called = _owner_of_called(value, value.__name__)
            if called is not None:
                return ["called", called, value.__name__]
        owner = owner_of(module)
        home = self.read(sys.modules.get(module or "")) if owner is None else owner
        return ["built-in", home, module, value.__qualname__, self.read(bound)]

    def _read_class(self, value: type) -> Any:
        module = value.__module__
        if is_called(value, module, value.__qualname__):
            owner = owner_of(module)
            if owner is not None:
                return ["installed", owner, module, value.__qualname__]
            if is_compiled_module(module):
                return [self.read(sys.modules[module]), value.__qualname__]
        return [
            "class",
            self.read(type(value)),
            [self.read(base) for base in value.__bases__],
            self._read_attributes(vars(value)),
        ]

    def _read_function(self, function: types.FunctionType) -> Any:
        # not the module that it says it is of: whoever wraps a function has its name
        home = function.__globals__.get("__name__")
        owner = owner_of(home) if is_of_module(function, home) else None
        module, name = function.__module__, function.__qualname__
        if owner is not None and is_called(function, module, name):
            return ["installed", owner, module, name]
        code = function.__code__
        parts = [
            "function",
            owner,
            self.read(code),
            self.read(function.__defaults__),
            self.read(function.__kwdefaults__),
            [self.read(content) for content in contents_of(function.__closure__)],
            self._read_attributes(vars(function)),
        ]
        if owner is None:
            names, values = names_in(code), function.__globals__
            used = sorted(names & values.keys() - UNREAD)
            parts.append({name: self._read_used(name, values[name], names) for name in used})
            imported = imports_in(code, values.get("__package__"))
            parts.append([self._read_import(each, names) for each in imported])
        return parts

    def _read_used(self, name: str, value: Any, names: set[str]) -> Any:
        """Read what code looks up under a name."""
        kind = type(value)
        if issubclass(kind, types.ModuleType):
            return self._read_module(value, names)
        # constants may be one object by chance
        is_plain = kind.__module__ == "builtins" or issubclass(kind, type)
        if not is_plain and owner_of(kind.__module__) is not None:
            # such as the variables of the environment, which change from test to test
            owner = _owner_of_called(value, name)
            if owner is not None:
                return ["called", owner, name]
        return self.read(value)

    def _read_import(self, name: str, names: set[str]) -> Any:
        """Read a module that a function imports when it is called."""
        owner = owner_of(name)
        if owner is not None:
            return ["installed module", owner, name]
        parts = name.split(".")
        try:
            found = [import_module(".".join(parts[: i + 1])) for i in range(len(parts))]
        # the function would raise it as well
        except Exception as error:
            return ["no module", name, type(error).__name__]
        return [self._read_module(each, names) for each in found]

    def _read_attributes(self, values: Mapping[str, Any]) -> Any:
        return {name: self.read(values[name]) for name in sorted(values.keys() - UNREAD)}

    def _read_object(self, value: Any) -> Any:
        """Read an object by what pickling would keep of it, and all attributes of one's own."""
        kind, tensor = type(value), getattr(sys.modules.get("torch"), "Tensor", ())
        described = [self.read(kind)]
        wraps = "__wrapped__" in getattr(value, "__dict__", {})
        if wraps or owner_of(kind.__module__) is None:
            described.append(self._read_attributes(attributes_of(value)))
        if wraps:
            # what keeps a function's results is pickled by its name
            return described
        if issubclass(kind, tensor):
            return [*described, self._read_tensor(value)]
        try:
            reduce = copyreg.dispatch_table.get(kind)
            found = reduce(value) if reduce else value.__reduce_ex__(4)
        # whatever an object raises that cannot be pickled
        except Exception as error:
            raise _not_told(value, error_text(error)) from None
        if isinstance(found, str):
            return [*described, self._read_called(value, found)]
        # attributes are read already; the last two are iterators
        state = found[2:3] if len(described) == 1 or reduces_by_itself(kind) else ()
        parts = [*found[:2], *state, *(list(each or ()) for each in found[3:5]), *found[5:]]
        return [*described, [self.read(part) for part in parts]]

    def _read_called(self, value: Any, name: str) -> Any:
        """Read an object that is what it is called."""
        module = getattr(value, "__module__", None) or type(value).__module__
        homes = [module] if is_called(value, module, name) else homes_of(value, name)
        if not homes:
            raise _not_told(value, f"it is called {shown(name)}, which no module holds")
        return ["called", next(filter(None, map(owner_of, homes)), None), name]

    def _read_tensor(self, tensor: Any) -> Any:
        import torch

        if tensor.is_quantized or tensor.layout is not torch.strided:
            raise _not_told(tensor, "it is no plain tensor")
        described = [str(tensor.dtype), list(tensor.shape), tensor.device.type]
        if tensor.is_meta:
            return described
        plain = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
        content = plain.reshape(-1).view(torch.uint8).numpy().tobytes()
        attributes = self._read_attributes({**vars(tensor), "requires_grad": tensor.requires_grad})
        return [*described, attributes, hashlib.sha256(content).hexdigest()]


def _owner_of_called(value: Any, name: str) -> str | None:
    """Return which distribution holds an object under this name in one of its modules."""
    return next(filter(None, map(owner_of, homes_of(value, name))), None)


def _short(value: str | bytes) -> str:
    """Return a text, or bytes in hexadecimal digits; of long ones, a digest."""
    if len(value) <= LONGEST:
        return value if isinstance(value, str) else value.hex()
    content = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
    return f"sha256 {hashlib.sha256(content).hexdigest()}"
