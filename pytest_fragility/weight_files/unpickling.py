"""Pickles that `torch.save` writes: where their tensors lie, and nothing of theirs is ever called.

`torch.load(..., weights_only=True)` runs no code either. But it reads no pickles of protocols 4 and
5, stops at the first NumPy number beside the weights, does not say where what it refuses stands,
makes a `bytearray` of any size that a file names, and compares no checksums.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from pytest_fragility._util.text import error_text, one_line
from pytest_fragility.weight_files.formats import UnusableFileError

# opcodes that put an object into the table by a number, for which room is made up to it
_PUTS = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
# opcodes that name objects which this process has registered
_REGISTERED = frozenset({"EXT1", "EXT2", "EXT4"})
# what stands beside weights, and is no more than numbers: it is left out
_NUMBERS = frozenset(
    {
        "_codecs.encode",
        "builtins.bytearray",
        "builtins.complex",
        "builtins.set",
        "numpy.dtype",
        "numpy.ndarray",
        "torch.Size",
        "torch.device",
        "torch.serialization._get_layout",
        *(
            f"numpy.{core}.{name}"
            for core in ("core", "_core")
            for name in ("multiarray.scalar", "multiarray._reconstruct", "numeric._frombuffer")
        ),
    }
)
_MAPPINGS = frozenset({"collections.OrderedDict", "collections.Counter"})
_PLAIN_TENSORS = frozenset({"torch.Tensor", "torch.nn.parameter.Parameter"})
_STORAGE_MODULES = ("torch.", "torch.cuda.", "torch.storage.")
_STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexDoubleStorage": torch.complex128,
    "ComplexFloatStorage": torch.complex64,
    # of bytes, whose tensors say what they are
    "UntypedStorage": torch.uint8,
}


class Inert:
    """An object that stands for another: it takes any arguments, and nothing changes it."""

    __slots__ = ()

    def __new__(cls, *_: object, **__: object) -> Inert:
        """Take any arguments, and none of them on."""
        return super().__new__(cls)

    def _ignore(self, *_: object, **__: object) -> None:
        """What fills lists, dicts and sets, and what gives attributes."""

    __setstate__ = append = extend = add = update = __setitem__ = _ignore


class Foreign(Inert):
    """An object of a class that is not read; each class of its own is one of these."""

    __slots__ = ()
    full_name = ""


class Named(dict[Any, Any]):
    """A dict that takes no attributes, such as a state dict's versions."""

    __slots__ = ()
    __setstate__ = Inert._ignore


class _Call:
    """What a pickle calls by the name of a function: one of those below."""

    __slots__ = ("_function",)
    __setstate__ = Inert._ignore

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)


@dataclass(frozen=True)
class _Storage:
    """Numbers of a file that tensors share."""

    key: str
    dtype: torch.dtype

    __setstate__ = Inert._ignore


@dataclass(frozen=True)
class Stored:
    """Where in a file a tensor's numbers lie."""

    key: str
    dtype: torch.dtype
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    __setstate__ = Inert._ignore

    def tensor(self, storage: torch.UntypedStorage) -> torch.Tensor:
        """Return the tensor, with its storage's bytes; a view of them.

        Raises
        ------
        UnusableFileError
            If it reaches beyond them.
        """
        steps = zip(self.shape, self.strides, strict=True)
        last = self.offset + sum((size - 1) * stride for size, stride in steps)
        if math.prod(self.shape) and (last + 1) * self.dtype.itemsize > storage.nbytes():
            raise UnusableFileError("is damaged: a tensor reaches beyond its storage")
        empty = torch.empty(0, dtype=self.dtype, device="cpu")
        try:
            if not math.prod(self.shape):
                return empty.reshape(self.shape)
            return empty.set_(storage, self.offset, self.shape, self.strides)
        # of numbers that torch cannot count to
        except (RuntimeError, OverflowError, TypeError):
            raise UnusableFileError("is damaged: a tensor has no shape that can be") from None


@dataclass(frozen=True)
class Pickled:
    """What a pickle holds, with a `Stored` in the place of each tensor, and where it ends.

    `foreign` names classes and functions that are not read, in their order; `storages` says by key
    how many bytes one number has, and how many numbers there are.
    """

    content: Any
    foreign: tuple[str, ...]
    storages: dict[str, tuple[int, int]]
    end: int


def unpickled(data: bytes, start: int = 0) -> Pickled:
    """Return what a pickle holds, without calling anything that it names.

    Raises
    ------
    UnusableFileError
        If it is damaged, or asks for what no `torch.save` does.
    """
    end = pickle_end(data, start)
    reader = _Unpickler(data[start:end])
    try:
        content = reader.load()
    # whatever it does to objects that are inert
    except Exception as error:
        raise _damaged(error) from None
    return Pickled(content, tuple(reader.foreign), reader.storages, end)


def pickle_end(data: bytes, start: int) -> int:
    """Return where a pickle that begins at a place ends; its lengths are those that it has.

    Raises
    ------
    UnusableFileError
        If it is damaged, or asks for what no `torch.save` does.
    """
    file = io.BytesIO(data)
    file.seek(start)
    try:
        with warnings.catch_warnings():
            # of text that is oddly quoted, which makes no difference here
            warnings.simplefilter("ignore")
            for opcode, argument, _ in pickletools.genops(file):
                if opcode.name in _REGISTERED:
                    raise ValueError(f"opcode {opcode.name}")
                if opcode.name in _PUTS and not 0 <= int(argument or 0) <= len(data):
                    raise ValueError(f"object number {argument}")
    # of text that is none
    except (ValueError, UnicodeError, OverflowError) as error:
        raise _damaged(error) from None
    return file.tell()


def _damaged(error: Exception) -> UnusableFileError:
    reason = one_line(error_text(error).strip().split("\n")[0], 120)
    return UnusableFileError(f"is damaged: its pickle cannot be read ({reason})")


class _Unpickler(pickle.Unpickler):
    """Of everything that a pickle can name, the functions below stand for a few."""

    def __init__(self, data: bytes) -> None:
        # text of Python 2 is bytes, which any are in this encoding
        super().__init__(io.BytesIO(data), encoding="latin1")
        self.foreign: dict[str, type[Foreign]] = {}
        self.storages: dict[str, tuple[int, int]] = {}
        # a dict can be copied as often as it is named
        self._room = len(data)

    def find_class(self, module: str, name: str) -> Any:
        # as Python 2 calls it, and pickles that Python 2 can read
        module = "builtins" if module == "__builtin__" else module
        full_name = f"{module}.{name}"
        if full_name in _REBUILDING:
            return _Call(_REBUILDING[full_name])
        if full_name in _MAPPINGS:
            return _Call(self._mapping)
        if full_name in _NUMBERS or module == "numpy.dtypes":
            return _Call(_beside)
        if full_name in _PLAIN_TENSORS:
            return _PLAIN
        if name in _STORAGES and full_name.removesuffix(name) in _STORAGE_MODULES:
            return _Storage("", _STORAGES[name])
        # not by getattr, which imports parts of torch by their names
        dtype = vars(torch).get(name) if module == "torch" else None
        if isinstance(dtype, torch.dtype):
            return dtype
        if full_name not in self.foreign:
            names = {"__slots__": (), "full_name": full_name}
            self.foreign[full_name] = type("Foreign", (Foreign,), names)
        return self.foreign[full_name]

    def persistent_load(self, pid: Any) -> Any:
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage":
            # so old files say what the source of a module's class is
            is_class = isinstance(pid, tuple) and pid[:1] == ("module",) and len(pid) > 1
            return pid[1] if is_class else Inert()
        kind, key, size = pid[1], str(pid[2]), pid[4]
        if not isinstance(kind, _Storage) or not _are_counts([size]) or any(pid[5:]):
            raise ValueError("a storage of an unknown kind")
        self.storages[key] = kind.dtype.itemsize, size
        return _Storage(key, kind.dtype)

    def _mapping(self, *items: Any) -> Named:
        self._room -= sum(map(len, items))
        if self._room < 0:
            raise ValueError("it holds more than it has bytes")
        return Named(*items)


_PLAIN = Inert()


def _beside(*_: object) -> Inert:
    return Inert()


def _are_counts(values: Iterable[object]) -> bool:
    return all(type(each) is int and each >= 0 for each in values)


def _tensor(
    storage: Any, offset: Any, shape: Any, strides: Any, *rest: Any, has_dtype: bool = False
) -> Stored:
    """Stand for `_rebuild_tensor`, `_v2` of it, and `_v3`, whose storage has no dtype."""
    # requires_grad and hooks, the dtype, then bits: of views that are conjugate, or negative
    dtype, *bits = rest[2:] if has_dtype else (getattr(storage, "dtype", None), *rest[2:])
    is_plain = isinstance(storage, _Storage) and isinstance(dtype, torch.dtype)
    if not is_plain or len(shape) != len(strides) or not _are_counts([offset, *shape, *strides]):
        raise ValueError("a tensor of an unknown kind")
    if bits and bits[0] and any(bits[0].values()):
        raise ValueError("a tensor that is a conjugate, or negative, view")
    return Stored(storage.key, dtype, offset, tuple(shape), tuple(strides))


def _parameter(data: Any, *_: Any) -> Any:
    return data


def _of_type(function: Any, kind: Any, arguments: Any, _: Any = None) -> Any:
    """Stand for what a tensor with attributes of its own is saved as."""
    is_plain = isinstance(function, _Call) and kind is _PLAIN
    return function(*arguments) if is_plain else Inert()


_REBUILDING: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": partial(_tensor, has_dtype=True),
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    # of devices whose memory is not saved: a tensor on the CPU, and what it was there
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": _parameter,
    "torch._tensor._rebuild_from_type_v2": _of_type,
}
