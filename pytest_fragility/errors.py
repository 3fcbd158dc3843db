"""Every error that the project raises on purpose."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Protocol

# what CI systems take for commands: `::error::` where a line begins, the others anywhere
_COMMAND = re.compile(r"^[ \t]*:(?=:)|#(?=#\w*\[)", re.MULTILINE)
LONGEST_TEXT = 10_000


def printable(text: str) -> str:
    """Return a text from elsewhere, harmless to show, and cut where it is long."""
    if len(text) > LONGEST_TEXT:
        left_out = len(text) - LONGEST_TEXT
        text = f"{text[:LONGEST_TEXT]}... ({left_out:,} more characters)"
    return harmless(text)


def harmless(text: str) -> str:
    r"""Return a text whose control characters are spelled out, such as ``\x1b``, and its commands.

    Lines and tabs stay. Escape sequences, carriage returns and characters that turn the direction
    of writing could make a terminal show something else than what is there. A line such as
    ``::error::`` or ``##[error]`` would be a command to the system that runs a CI job: of its
    first sign the code is written.
    """
    if not text.isprintable():
        text = "".join(
            character if character.isprintable() or character in "\n\t" else _spelled(character)
            for character in text
        )
    return _COMMAND.sub(lambda found: f"{found[0][:-1]}\\x{ord(found[0][-1]):02x}", text)


def _spelled(character: str) -> str:
    return " " if character.isspace() and ord(character) > 127 else repr(character)[1:-1]


class FragilityError(Exception):
    """Base class of the project's errors; never raised itself.

    Parameters
    ----------
    message
        The text a person reads. What it quotes may come from anywhere, and is made harmless.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(printable(message))


class FragilityWarning(UserWarning):
    """Base class of the project's warnings; never given itself.

    Parameters
    ----------
    message
        The text a person reads. What it quotes may come from anywhere, and is made harmless.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(printable(message))


class SettingsError(FragilityError, ValueError):
    """A setting, recipe, perturbation or check name that cannot be used as given.

    Parameters
    ----------
    message
        The text a person reads.
    """


class TableError(SettingsError):
    """A table, a manifest or a checkpoint that cannot be read or written as asked.

    Parameters
    ----------
    message
        The text a person reads; it names the file, and all lines that are wrong.
    """


class TaskError(FragilityError, ValueError):
    """Data that cannot be learned from, or that are too few for what was asked.

    Parameters
    ----------
    message
        The text a person reads.
    """


class TrainingError(FragilityError, RuntimeError):
    """A training that cannot be carried out as asked.

    Parameters
    ----------
    message
        The text a person reads.
    """


class BudgetError(FragilityError, RuntimeError):
    """More networks would be trained on demand than the budget allows.

    Parameters
    ----------
    message
        The text a person reads.
    """


class StoreError(FragilityError, OSError):
    """A store of trained runs that cannot be read or written.

    Parameters
    ----------
    message
        The text a person reads.
    """


class MeasureError(FragilityError):
    """A measure that raised, took too long, or returned something that is no usable number.

    Parameters
    ----------
    message
        The text a person reads; it names the network.
    seeds
        Those with which it fails, where all others gave their numbers.
    """

    def __init__(self, message: str, *, seeds: Iterable[int] = ()) -> None:
        super().__init__(message)
        self.seeds = frozenset(seeds)


class UndefinedMeasureError(FragilityError, ValueError):
    """A measure that is not defined for a network, such as a margin of mislabelled samples.

    Parameters
    ----------
    reason
        The text a person reads: what is not defined, why, and what to do.
    place
        Which network of a stack.
    """

    def __init__(self, reason: str, place: int = 0) -> None:
        super().__init__(reason)
        self.place = place


class Judged(Protocol):
    """A verdict, as a failure carries it."""

    @property
    def status(self) -> str:
        """``kept``, ``broken`` or ``inconclusive``."""

    @property
    def reason(self) -> str:
        """One sentence that says why."""


class AuditFailure(AssertionError):
    """A check that was not kept: what an audit asserts does not hold, or is not shown to hold.

    Parameters
    ----------
    message
        The text a person reads: what broke, under which change, by how much, how certainly.
    verdict
        The verdict with its evidence.
    """

    def __init__(self, message: str, verdict: Judged) -> None:
        super().__init__(harmless(message))
        self.verdict = verdict


class CheckBroken(AuditFailure):
    """The whole interval lies outside the tolerance: the measure is fragile here.

    Parameters
    ----------
    message
        The text a person reads.
    verdict
        The verdict with its evidence.
    """


class CheckInconclusive(AuditFailure):
    """The interval straddles the tolerance: these seeds decide nothing.

    Parameters
    ----------
    message
        The text a person reads.
    verdict
        The verdict with its evidence.
    """


class ControlsMisbehave(AuditFailure):
    """A measure whose verdict is known beforehand was judged otherwise: trust no verdict here.

    Parameters
    ----------
    message
        The text a person reads.
    verdict
        The verdict with its evidence.
    """


# As pytest does with its own outcomes: the short test summary has no room for a module's name.
for _outcome in (AuditFailure, CheckBroken, CheckInconclusive, ControlsMisbehave):
    _outcome.__module__ = "builtins"


class MeasureTimedOut(BaseException):
    """Raised in the midst of a measure; no `Exception`, which a measure might catch."""
