"""Ctrl-C: what is done is kept, and the terminal says how to go on."""

from __future__ import annotations

import re

from tests.plugin.conftest import BASELINE_RUNS, Project

# the first runs that are done are interrupted on their way to the store
INTERRUPTED_TRAINING = """
import pytest_fragility.training.trainer as trainer

plain_train = trainer.train

def train(*arguments):
    batches = plain_train(*arguments)
    yield next(batches)[:5]
    raise KeyboardInterrupt

trainer.train = train
"""


def test_an_interrupted_training_says_what_is_kept(project: Project) -> None:
    """The runs that were done are in the store; the same command trains the others."""
    project.audit("falling")
    project.write(INTERRUPTED_TRAINING, "conftest")
    stopped = project.run_apart("--fragility", "-p", "no:hypothesispytest")
    assert stopped.returncode == 2
    total = 2 * BASELINE_RUNS
    expected = (
        f"fragility: 5 of the {total} networks in training are done and kept in .fragility_cache; "
        "the same command goes on from there"
    )
    assert expected in stopped.stdout.splitlines()
    assert len(project.stored()) == 5
    (project.path / "conftest.py").unlink()
    result = project.run("--fragility")
    result.stdout.fnmatch_lines([f"fragility: training {total - 5} networks"])
    assert len(project.stored()) == total


def test_an_interrupted_measure_says_what_is_kept(project: Project) -> None:
    """Where all networks are trained, none is counted; an interruption is no failed measure."""
    project.write(
        "def interrupted(network):\n    raise KeyboardInterrupt\n"
        "@pytest.mark.fragility(interrupted, **SMALL)\ndef test_audit(check):\n    check()\n"
    )
    stopped = project.run_apart("--fragility", "-p", "no:hypothesispytest")
    assert stopped.returncode == 2
    notes = re.findall(r"^fragility: trained networks are kept.*$", stopped.stdout, re.M)
    assert notes == [
        "fragility: trained networks are kept in .fragility_cache; the same command goes on from "
        "there"
    ]
    assert "MeasureError" not in stopped.stdout
