"""Text that LaTeX prints as it is."""

from __future__ import annotations

import re

from pytest_fragility._util.text import one_line

LONGEST = 1000
SPECIAL = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "{": r"\{",
        "}": r"\}",
        "$": r"\$",
        "&": r"\&",
        "#": r"\#",
        "%": r"\%",
        "_": r"\_",
        "^": r"\textasciicircum{}",
        "~": r"\textasciitilde{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        '"': "''",
        "`": r"\textasciigrave{}",
        # after a row's end an open bracket would be an argument
        "[": "{[}",
    }
)


SIGNED = re.compile(r"[+-]\d[\d.]*(?:e[+-]\d+)?")


def escaped(text: str) -> str:
    """Return a text on one line, with all that means something to LaTeX escaped."""
    return one_line(text, LONGEST).translate(SPECIAL)


def signed_numbers(text: str) -> str:
    """Return a text whose signed numbers are set as mathematics, so that a minus is one."""
    return SIGNED.sub(r"$\g<0>$", text)
