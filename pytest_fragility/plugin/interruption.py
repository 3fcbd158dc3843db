"""What the terminal says where a session is interrupted: what is kept, and how to go on."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import Any

import pytest

from pytest_fragility.plugin.session import fragility_session
from pytest_fragility.plugin.terminal import write_text


class InterruptionNote:
    """Notes that a session was interrupted, and says how to go on.

    Parameters
    ----------
    config
        pytest's configuration.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._is_interrupted = False

    def pytest_keyboard_interrupt(self, excinfo: Any) -> None:
        """Note it; ``pytest.exit`` ends a session this way too."""
        self._is_interrupted = excinfo.errisinstance(KeyboardInterrupt)
        # the end of the process would search all of torch for garbage, several times over
        gc.freeze()

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Write the note; nothing where no training has begun, or none is kept."""
        session = fragility_session(self._config)
        folder = session.settings.cache_dir
        if not self._is_interrupted or folder is None or not folder.exists():
            return
        write_text(
            terminalreporter,
            f"fragility: {_what_is_kept(session.training, folder)}; the same command goes on "
            "from there",
        )


def _what_is_kept(training: tuple[int, int] | None, folder: Path) -> str:
    where = os.path.relpath(folder) if folder.is_relative_to(Path.cwd()) else folder
    if training is None or training[0] == training[1]:
        return f"trained networks are kept in {where}"
    done, total = training
    return f"{done} of the {total} networks in training are done and kept in {where}"
