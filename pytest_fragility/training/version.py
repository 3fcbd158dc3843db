"""The version of the trainer: a digest of the code that decides what a training gives."""

from __future__ import annotations

import ast
import hashlib
import io
import tokenize
from collections.abc import Iterator
from functools import cache
from importlib import resources

# Every file whose code can change the weights of a trained network. A file that only hands work
# out, or reads weights, is left out: a change of it leaves stored runs as they are.
TRAINER_FILES = (
    "_util/seeds.py",
    "networks/attachments.py",
    "networks/building.py",
    "networks/convolutional.py",
    "networks/initialization.py",
    "networks/layers.py",
    "networks/perceptrons.py",
    "networks/states.py",
    "networks/transformers.py",
    "recipes/schedules.py",
    "recipes/stopping_rules.py",
    "tasks/sampling.py",
    "tasks/splits.py",
    "training/buffers.py",
    "training/convolution_stacks.py",
    "training/devices.py",
    "training/dropout.py",
    "training/gradients.py",
    "training/minibatches.py",
    "training/one_by_one.py",
    "training/stacked_optimizers.py",
    "training/perceptron_stacks.py",
    "training/probe.py",
    "training/stacked_forms.py",
    "training/steps.py",
    "training/training_loop.py",
    "training/trajectories.py",
    "training/vmapped.py",
)


@cache
def trainer_version() -> str:
    """Return a digest of the trainer's own code: a change of it makes stored runs stale.

    It is taken over the definitions of `TRAINER_FILES`, without comments, docstrings and imports,
    whatever file each stands in. So it outlasts a definition that moves and a text that is
    written anew.
    """
    package = resources.files("pytest_fragility")
    texts = (package.joinpath(name).read_text(encoding="utf-8") for name in TRAINER_FILES)
    return digest_of_code(texts)


def digest_of_code(sources: Iterator[str] | list[str]) -> str:
    """Return a SHA-256 digest of the definitions in some sources, in whichever order they stand.

    Parameters
    ----------
    sources
        Python source texts.
    """
    definitions = sorted(text for source in sources for text in _definitions(source))
    return hashlib.sha256("\n\n".join(definitions).encode()).hexdigest()


def _definitions(source: str) -> Iterator[str]:
    """Return the text of each definition at the top of a module: what runs, line by line."""
    tree = ast.parse(source)
    # as source text, not as a tree: how a tree is written differs between versions of Python
    lines = _without_comments(source)
    left_out = {number for node in ast.walk(tree) for number in _lines_left_out(node)}
    for node in tree.body:
        first = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", ()))])
        kept = (lines[at - 1] for at in range(first, _end(node) + 1) if at not in left_out)
        text = "\n".join(line for line in kept if line)
        if text:
            yield text


def _lines_left_out(node: ast.AST) -> range:
    """Return the lines of an import, of a block for type checkers alone, or of a docstring."""
    match node:
        case ast.Import() | ast.ImportFrom() | ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return range(node.lineno, _end(node) + 1)
        case ast.Expr(value=ast.Constant(value=str())):
            return range(node.lineno, _end(node) + 1)
    return range(0)


def _end(node: ast.stmt) -> int:
    assert node.end_lineno is not None
    return node.end_lineno


def _without_comments(source: str) -> list[str]:
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    return [line.rstrip() for line in lines]
