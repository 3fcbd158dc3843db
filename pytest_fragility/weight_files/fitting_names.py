"""Which tensors of a file are a network's: the one renaming under which names and shapes fit."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

import torch

from pytest_fragility._util.text import one_line
from pytest_fragility.networks import state_of
from pytest_fragility.weight_files.leaves import Leaf

Segments = tuple[str, ...]
# what wrappers of a module, and of its parts, call what they wrap
_WRAPPER = re.compile(
    "_?module|_orig_mod|_original_module|_(checkpoint_wrapped|forward|fsdp_wrapped)_module"
)
# what counts batches, and is never asked when a network is evaluated
COUNTER = "num_batches_tracked"
# states that are no layer's: of losses and metrics, and what profilers and averages count
_JUDGES = re.compile(
    r"(^|[^a-z])(loss(es|fn)?|criteri(on|a)|objective|metrics?|acc(uracy)?|auroc|auc|f1|precision|"
    r"recall|confmat|confusion|perplexity|mse|mae|ece)([^a-z]|$)"
)
_COUNTED = re.compile(
    f"{COUNTER}|n_averaged|total(_ops|_params)?|confmat|correct|(max|mean|min|sum)_value|"
    "sum_(abs|squared)_error"
)
_WHOLE_NUMBERS = (torch.int64, torch.int32)
_MOST_HELD = 4


class _Expected:
    """The tensors that a network has."""

    def __init__(self, network: torch.nn.Module) -> None:
        own = state_of(network)
        self.tensors = {**own.weights, **own.buffers}
        first = {id(each): name for name, each in network.named_parameters()}
        # a parameter that layers share may stand under any of its names
        self.first = {name: name for name in self.tensors} | {
            name: first[id(each)] for name, each in network.named_parameters(remove_duplicate=False)
        }
        saved = network.state_dict()
        self.needed = [
            name for name in self.tensors if name in saved and name.rpartition(".")[2] != COUNTER
        ]
        self.names = {tuple(name.split(".")): name for name in self.first}
        self.names |= {
            other: name
            for segments, name in self.names.items()
            for other in _weight_norm(segments)
            if other not in self.names
        }
        self.children = {segments[0] for segments in self.names}


def _weight_norm(segments: Segments) -> list[Segments]:
    """Return what torch's other form of weight normalization calls the same tensor."""
    *path, last = segments
    if len(path) > 1 and path[-2] == "parametrizations" and last in ("original0", "original1"):
        return [(*path[:-2], f"{path[-1]}_{'g' if last == 'original0' else 'v'}")]
    if last in ("weight_g", "weight_v"):
        return [(*path, "parametrizations", "weight", f"original{int(last == 'weight_v')}")]
    return []


@dataclass(frozen=True)
class _Renaming:
    """Tensors of a file by the names that they are a network's under, and where they stood."""

    prefix: Segments
    found: Mapping[str, Sequence[Leaf]]
    # how all tensors of the file were called when these were found
    called: Sequence[tuple[Segments, Leaf]]


def fitting_tensors(tensors: Sequence[Leaf], network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return a file's tensors by the names of a network's own; counters of batches may be missing.

    A prefix of any depth, the names of wrappers, and the containers that they stand in may be
    others. What stands beside them is left out if it is no layer's. A ValueError says that there is
    no such renaming, or more than one, and they differ.
    """
    expected = _Expected(network)
    best: _Renaming | None = None
    for renamings in _renamings(tensors, expected):
        fitting = [each for each in renamings if not _misfit(each, expected)]
        if fitting:
            return _only_one(fitting, expected)
        for each in renamings:
            if best is None or len(each.found) > len(best.found):
                best = each
    if best is None:
        best = _Renaming((), {}, [])
    held = ""
    if _lacking(best, expected):
        named = ", ".join(_full_name(leaf) for leaf in tensors[:_MOST_HELD]) or "nothing"
        held = f"; it holds {named}{', ...' if len(tensors) > _MOST_HELD else ''}"
    raise ValueError(f"it is of another architecture: {_misfit(best, expected)}{held}")


def _renamings(tensors: Sequence[Leaf], expected: _Expected) -> Iterator[list[_Renaming]]:
    """Return renamings by prefix; then those without names that all of the network's begin with."""
    split = [(tuple(".".join(leaf.path).split(".")), leaf) for leaf in tensors]
    bare = [(_unwrapped(segments), leaf) for segments, leaf in split]
    names = expected.names
    bare_names = {_unwrapped(segments): name for segments, name in names.items()}
    if len(bare_names) < len(names):
        bare, bare_names = split, names
    yield [*_by_prefix(names, split), *_by_prefix(bare_names, bare)]
    shared = takewhile(lambda each: len(set(each)) == 1, zip(*bare_names, strict=False))
    shortest = min(map(len, bare_names), default=1)
    for depth, _ in enumerate(shared, 1):
        if depth < shortest:
            yield list(_by_prefix({each[depth:]: name for each, name in bare_names.items()}, bare))


def _unwrapped(segments: Segments) -> Segments:
    return tuple(each for each in segments if not _WRAPPER.fullmatch(each))


def _by_prefix(
    names: Mapping[Segments, str], called: Sequence[tuple[Segments, Leaf]]
) -> Iterator[_Renaming]:
    lengths = sorted({len(each) for each in names})
    found: dict[Segments, dict[str, list[Leaf]]] = {}
    for segments, leaf in called:
        for length in lengths:
            name = names.get(segments[-length:]) if length <= len(segments) else None
            if name is not None:
                prefix = segments[:-length]
                found.setdefault(prefix, {}).setdefault(name, []).append(leaf)
    for prefix, by_name in found.items():
        yield _Renaming(prefix, by_name, called)


def _lacking(renaming: _Renaming, expected: _Expected) -> list[str]:
    there = {expected.first[name] for name in renaming.found}
    return [name for name in expected.needed if name not in there]


def _misfit(renaming: _Renaming, expected: _Expected) -> str:
    """Return in which name, or shape, tensors are others than a network's; nothing if in none."""
    lacking = _lacking(renaming, expected)
    if lacking:
        more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
        return f"no {one_line('.'.join((*renaming.prefix, lacking[0])))}{more}"
    for name, found in renaming.found.items():
        own = tuple(expected.tensors[expected.first[name]].shape)
        for leaf in found:
            if (shape := tuple(leaf.value.shape)) != own:
                return f"{_full_name(leaf)} has shape {shape}, expected {own}"
    return ""


def _only_one(fitting: Sequence[_Renaming], expected: _Expected) -> dict[str, torch.Tensor]:
    """Return the tensors of renamings, if these are the same and no layer stands beside them."""
    chosen: dict[str, Leaf] = {}
    used = set()
    for renaming in fitting:
        for name, leaves in renaming.found.items():
            for leaf in leaves:
                other = chosen.setdefault(expected.first[name], leaf)
                if not _is_same(other.value, leaf.value):
                    raise ValueError(
                        "it holds this network's values more than once, and they differ: "
                        f"{_full_name(other)} and {_full_name(leaf)}. Save those that were "
                        "tested alone"
                    )
                used.add(id(leaf))
    containers = {leaf.container for leaf in chosen.values()}
    beside = [
        (segments, leaf)
        for segments, leaf in fitting[0].called
        if leaf.container in containers and id(leaf) not in used
    ]
    counting = {segments[:-1] for segments, _ in beside if _COUNTED.fullmatch(segments[-1])}
    for segments, leaf in beside:
        depth = len(fitting[0].prefix)
        is_inside = segments[:depth] == fitting[0].prefix and segments[depth] in expected.children
        is_judging = not is_inside and (
            leaf.value.dtype in _WHOLE_NUMBERS
            or segments[:-1] in counting
            or any(_JUDGES.search(each.lower()) for each in segments)
        )
        if not is_judging and not _COUNTED.fullmatch(segments[-1]):
            raise ValueError(
                f"it is of another architecture, which has {_full_name(leaf)} too; if that is no "
                "layer of the network, save the network's state dict without it"
            )
    return {name: leaf.value for name, leaf in chosen.items()}


def _is_same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one is other or (
        one.dtype == other.dtype and one.shape == other.shape and torch.equal(one, other)
    )


def _full_name(leaf: Leaf) -> str:
    return one_line(".".join(leaf.path))
