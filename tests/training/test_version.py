"""The trainer's version: it follows what its code does, wherever that stands."""

from __future__ import annotations

from pathlib import Path

import pytest_fragility
from pytest_fragility.training.version import TRAINER_FILES, digest_of_code

PACKAGE = Path(pytest_fragility.__file__).parent

FIRST = '''"""One."""

from somewhere import anything

LIMIT = 3


def step(weight):
    """Say what it does."""
    from elsewhere import scale

    return scale(weight)  # and why
'''
SECOND = '''"""Two."""


class Rule:
    """A rule."""

    text = "# no comment"
'''


def test_moved_and_newly_described_code_is_the_same_code() -> None:
    """Files, order, comments, docstrings and imports may change."""
    first = FIRST.replace("Say what it does.", "Other words.").replace("  # and why", "")
    moved = SECOND.replace('"""Two."""', first.replace("somewhere", "another_place"))
    assert digest_of_code([FIRST, SECOND]) == digest_of_code([moved])


def test_changed_code_is_other_code() -> None:
    """A constant, an expression, a text that looks like a comment, a name."""
    for old, new in [
        ("LIMIT = 3", "LIMIT = 4"),
        ("scale(weight)", "scale(-weight)"),
        ("# no comment", "# none"),
        ("class Rule:", "class Law:"),
    ]:
        both = FIRST + SECOND
        assert old in both
        assert digest_of_code([both]) != digest_of_code([both.replace(old, new)])


def test_every_file_of_the_trainer_is_counted_or_known_not_to_matter() -> None:
    """A new file in one of its folders has to be put on one side."""
    changes_no_weight = {
        "networks/__init__.py",
        "networks/runs.py",
        "networks/shape_checks.py",
        "networks/stack_cache.py",
        "networks/stacks.py",
        "networks/tracing.py",
        "networks/trained_network.py",
        "networks/transport.py",
        "networks/weight_layers.py",
        "training/__init__.py",
        "training/cuda_streams.py",
        "training/distribution.py",
        "training/memory.py",
        "training/trainer.py",
        "training/version.py",
    }
    folders = [PACKAGE / "networks", PACKAGE / "training"]
    found = {path.relative_to(PACKAGE).as_posix() for each in folders for path in each.glob("*.py")}
    assert found - set(TRAINER_FILES) == changes_no_weight
    assert all((PACKAGE / name).is_file() for name in TRAINER_FILES)
