"""What is wrong with a file, so that it can be said once for all files alike."""

from __future__ import annotations


class UnusableFileError(ValueError):
    """A file that cannot be used.

    Parameters
    ----------
    text
        Words that follow the file's name, such as ``is empty``.
    name
        The file's; given where it is known.
    """

    def __init__(self, text: str, name: str = "") -> None:
        super().__init__(f"{name} {text}" if name else text)
        self.text = text
        self.name = name
