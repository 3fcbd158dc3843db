"""Text that comes from elsewhere, made fit to be shown: in a message, a table, on a terminal."""

from __future__ import annotations

import re
from typing import Any

# what CI systems take for commands: `::error::` where a line begins, the others anywhere
_COMMAND = re.compile(r"^[ \t]*:(?=:)|#(?=#\w*\[)", re.MULTILINE)


LONGEST_VALUE = 200


LONGEST_TEXT = 10_000


def shown(value: Any, longest: int = LONGEST_VALUE) -> str:
    """Return a value's repr on one line, cut where it is long; it never raises.

    Parameters
    ----------
    value
        Anything.
    longest
        Characters at most.
    """
    try:
        text = repr(value)
    # an object of somebody else's, or a number with more digits than Python writes
    except Exception:
        return f"<{type(value).__name__} that cannot be shown>"
    return one_line(text.replace("\n", " "), longest)


def one_line(text: str, longest: int = LONGEST_VALUE) -> str:
    """Return a text on one line, its line breaks spelled out too, and cut where it is long."""
    text = printable(text).replace("\n", "\\n").replace("\t", "\\t")
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def error_text(error: BaseException) -> str:
    """Return an error's type and text; the type alone where it has no text, or fails to say it."""
    kind = type(error).__name__
    try:
        text = str(error)
    # an exception of somebody else's, whose own text raises
    except Exception:
        return f"{kind} (its text cannot be shown)"
    return f"{kind}: {text}" if text else kind


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


def first_sentence(error: BaseException) -> str:
    """Return the beginning of an error's text, or its type's name where it has none."""
    kind, _, text = error_text(error).partition(": ")
    return one_line(" ".join(text.split()).partition(". ")[0].rstrip(".")) or kind
