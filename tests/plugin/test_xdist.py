"""Audits spread over several processes by pytest-xdist."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from pytest_fragility.parallel.cores import usable_cores
from tests.plugin.conftest import BASELINE_RUNS, COUNTED_SAVES, Project
from tests.plugin.test_summary import summary

pytest.importorskip("xdist")

# one audit whose networks are kept, and one that keeps nothing
TWO_AUDITS = """
import torch

def watched(network):
    with open("threads.txt", "a") as log:
        log.write(f"{torch.get_num_threads()}\\n")
    return reversing(network)

@pytest.mark.fragility(watched, xfail={"spread-adam": "known"}, **SMALL)
def test_kept(check): check()

SHORT = Recipe(architecture=MLP(hidden=(8,)), stopping=fixed_steps(20))
@pytest.mark.fragility(falling, cache_dir=None, **{**SMALL, "recipe": SHORT})
def test_unkept(check): check()
"""
COUNTED_PROCESSES = """
import pytest_fragility.training.trainer as trainer

plain_train_stacks = trainer.train_stacks

def train_stacks(stacks, *arguments, processes, **options):
    if stacks:
        with open("processes.txt", "a") as log:
            log.write(f"{processes}\\n")
    return plain_train_stacks(stacks, *arguments, processes=processes, **options)

trainer.train_stacks = train_stacks
"""
OUTCOME = re.compile(r"^(PASSED|FAILED|XFAIL) (test_\w+\.py::[^\s@]+)", re.M)
NEEDS_RANDOMLY = pytest.mark.skipif(
    importlib.util.find_spec("pytest_randomly") is None, reason="needs pytest-randomly"
)


def spread(project: Project, *arguments: str) -> pytest.RunResult:
    """Run audits in workers that may use all cores, and whose temporary files are told apart."""
    (project.path / "temporary").mkdir()
    cores = str(usable_cores())
    finished = project.run_apart(
        "--fragility",
        "-p",
        "no:hypothesispytest",
        *arguments,
        OMP_NUM_THREADS=cores,
        MKL_NUM_THREADS=cores,
        TMPDIR=str(project.path / "temporary"),
    )
    return pytest.RunResult(finished.returncode, finished.stdout.splitlines(), [], 0)


def outcomes(result: pytest.RunResult) -> list[tuple[str, str]]:
    """Return what ``-rA`` says of each test, sorted."""
    return sorted(OUTCOME.findall(result.stdout.str()))


def progress(result: pytest.RunResult) -> list[str]:
    """Return what was shown of trainings, without their seconds."""
    lines = [line for line in result.outlines if line.startswith("fragility: train")]
    return [re.sub(r"\d+\.\d s", "... s", line) for line in lines]


def tables(result: pytest.RunResult) -> list[str]:
    """Return the summary without what to do next, which repeats the run's own options."""
    return [line for line in summary(result) if not line.startswith("  next: ")]


def noted(project: Project, name: str) -> list[str]:
    """Return what the workers have written to a file."""
    return (project.path / name).read_text().split()


def left_over(project: Project) -> list[Path]:
    """Return the folders of networks that were to be kept nowhere."""
    return list((project.path / "temporary").glob("pytest-fragility-*"))


@pytest.mark.parametrize(
    ("workers", "arguments"),
    [
        (2, ["--dist=loadscope"]),
        pytest.param(3, ["--dist=worksteal", "--randomly-seed=1"], marks=NEEDS_RANDOMLY),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else str(value),
)
def test_workers_do_what_one_process_does(
    project: Project, workers: int, arguments: list[str]
) -> None:
    """The same outcomes and summary, each network trained once, on cores that are divided."""
    project.write(TWO_AUDITS)
    alone = project.run("--fragility", "-rA", "--fragility-cache-dir=alone")
    asked = len(noted(project, "threads.txt"))
    (project.path / "threads.txt").unlink()
    project.write(COUNTED_SAVES + COUNTED_PROCESSES, "conftest")
    together = spread(project, "-rA", f"-n{workers}", *arguments)

    assert together.ret == alone.ret == 1
    assert len(outcomes(alone)) == 14
    assert outcomes(together) == outcomes(alone)
    in_random_order = len(arguments) > 1
    assert together.stdout.str().count("= fragility =") == 1
    if in_random_order:
        assert sorted(tables(together)) == sorted(tables(alone))
    else:
        assert tables(together) == tables(alone)

    saved = noted(project, "saved.txt")
    assert len(saved) == len(set(saved)) == 4 * BASELINE_RUNS
    assert {path.name for path in project.stored()} == {
        path.name for path in project.stored("alone")
    }
    assert not left_over(project)
    shown = ["fragility: training 18 networks", "fragility: trained 18 networks in ... s"]
    assert progress(together) == shown * 2
    assert set(noted(project, "threads.txt")) == {str(max(1, usable_cores() // workers))}
    assert noted(project, "processes.txt") == [str(usable_cores())] * 2
    if "--dist=loadscope" in arguments:
        # one worker has all tests of the file
        assert len(noted(project, "threads.txt")) == asked


def test_seeds_in_looks(project: Project) -> None:
    """Looks in several workers train each network once, and find what one process finds."""
    project.audit("reversing", "**{**SMALL, 'seeds': 'auto'}")
    alone = project.run("--fragility", "-rA", "--fragility-cache-dir=alone")
    project.write(COUNTED_SAVES, "conftest")
    together = spread(project, "-rA", "-n2", "-q", "--dist=loadgroup")
    assert outcomes(together) == outcomes(alone)
    saved = noted(project, "saved.txt")
    assert len(saved) == len(set(saved)) == len(project.stored("alone"))
    # under -q
    assert not progress(together)


def test_a_crash_ends_one_test(project: Project) -> None:
    """Where a measure ends its process, that test fails; another worker runs what is left."""
    project.write(
        "import os, pathlib\n"
        "def crashing(network):\n"
        "    crashed = pathlib.Path('crashed')\n"
        "    if network.recipe.optimizer.kind == 'adam' and not crashed.exists():\n"
        "        crashed.touch()\n"
        "        os._exit(3)\n"
        "    return 1 / network.n\n"
        "@pytest.mark.fragility(crashing, **SMALL)\n"
        "def test_audit(check): check()\n"
    )
    project.write(COUNTED_SAVES, "conftest")
    result = spread(project, "-n2")
    result.assert_outcomes(passed=6, failed=1)
    assert "crashed while running 'test_audit.py::test_audit[" in result.stdout.str()
    lines = summary(result)
    assert lines[0] == "crashing on blobs: inconclusive"
    assert any("1 check ended in an error" in line for line in lines)
    assert len(noted(project, "saved.txt")) == 2 * BASELINE_RUNS
    assert not left_over(project)


def test_the_first_failure_may_end_it(project: Project) -> None:
    """With ``-x`` the summary holds what was found until then."""
    project.audit("reversing", "cache_dir=None, **SMALL")
    result = spread(project, "-n2", "-x", "--dist=loadfile")
    assert "stopping after 1 failures" in result.stdout.str()
    assert summary(result)[0] == "reversing on blobs: broken"
    assert not left_over(project)
