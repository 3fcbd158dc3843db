"""Managing the trained runs from the command line."""

from __future__ import annotations

import os
import time

import pytest

from pytest_fragility.plugin.store_command import bytes_of, seconds_of
from tests.plugin.conftest import BASELINE_RUNS, Project


@pytest.fixture
def stored(project: Project) -> Project:
    """A project whose audit has trained its baseline and Adam."""
    project.audit("falling", "**{**SMALL, 'checks': ['trend']}")
    project.run("--fragility").assert_outcomes(passed=5, failed=0)
    assert len(project.stored()) == 2 * BASELINE_RUNS
    return project


def test_list_says_what_is_kept(stored: Project) -> None:
    """A line per task, and no test is run."""
    result = stored.run("--fragility-store=list")
    assert result.ret == 0
    result.stdout.fnmatch_lines([f"*.fragility_cache: {2 * BASELINE_RUNS} runs, * kB"])
    result.stdout.fnmatch_lines([f"  blobs * {2 * BASELINE_RUNS} * kB * today"])
    result.stdout.no_fnmatch_line("*other versions*")
    result.stdout.no_fnmatch_line("*test session starts*")


def test_prune_removes_what_was_not_used(stored: Project) -> None:
    """An option names how long; without a limit no run goes, and it says how to set one."""
    first, *others = sorted(stored.stored())
    os.utime(first, (time.time() - 40 * 86400,) * 2)
    result = stored.run("--fragility-store=prune")
    result.stdout.fnmatch_lines(["*: removed 0 files, 0 bytes", "*--fragility-store-max-age=30d*"])
    result = stored.run("--fragility-store=prune", "--fragility-store-max-age=30d")
    result.stdout.fnmatch_lines(["*: removed 1 file, *"])
    assert stored.stored() == set(others)
    stored.run("--fragility-store=prune", "--fragility-store-max-size=0MB")
    assert stored.stored() == set()


def test_verify_finds_a_flipped_bit(stored: Project) -> None:
    """It names the entry and sets it aside; the exit status says that there was one."""
    result = stored.run("--fragility-store=verify")
    assert result.ret == 0
    result.stdout.fnmatch_lines([f"*: {2 * BASELINE_RUNS} runs whole, 0 damaged"])
    path = sorted(stored.stored())[3]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 16
    path.write_bytes(data)
    result = stored.run("--fragility-store=verify")
    assert result.ret == 1
    name = path.parent.name + path.name
    result.stdout.fnmatch_lines(
        [
            f"{name}: its checksum is not that of its contents; set aside as *{name}",
            f"*: {2 * BASELINE_RUNS - 1} runs whole, 1 damaged",
        ]
    )
    assert stored.run("--fragility-store=verify").ret == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fragility-store=list"], "no trained runs are kept in *none yet"),
        (["--fragility-store=prune", "--fragility-store-max-age=soon"], "*='soon': expected*12h*"),
        (["--fragility-store=prune", "--fragility-store-max-size=lots"], "*='lots': expected*2GB"),
        (["--fragility-store=verify", "--fragility-store-max-age=1d"], "*limits for*=prune"),
        (["--fragility-store-max-size=1GB"], "*limits for*=prune"),
        (["--fragility-store=empty"], "*invalid choice: 'empty'*"),
    ],
)
def test_options_that_cannot_be_used(project: Project, arguments: list[str], message: str) -> None:
    """Each is refused before anything is done."""
    folder = project.path / "none"
    if len(arguments) > 1:
        folder.mkdir()
    result = project.run(*arguments, f"--fragility-cache-dir={folder}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{message}"])


def test_a_foreign_folder_is_left_alone(project: Project) -> None:
    """What is no store is neither listed nor pruned."""
    (project.path / "thesis.tex").write_text("years of work")
    result = project.run("--fragility-store=prune", f"--fragility-cache-dir={project.path}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*it holds other files*"])
    assert (project.path / "thesis.tex").exists()


@pytest.mark.parametrize(
    ("text", "seconds"), [("12h", 43200.0), ("30d", 2592000.0), ("2w", 1209600.0), ("1.5d", 129600)]
)
def test_ages(text: str, seconds: float) -> None:
    """Hours, days and weeks."""
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("17", 17), ("500MB", 5 * 10**8), ("2GB", 2 * 10**9), ("1.5 tb", 15 * 10**11)],
)
def test_sizes(text: str, size: int) -> None:
    """In powers of 1000, upper case or lower."""
    assert bytes_of(text) == size
