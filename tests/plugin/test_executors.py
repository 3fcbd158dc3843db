"""Sessions whose networks are trained and measured elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_fragility.executors import dask_clusters
from tests.plugin.conftest import Project

# an executor that makes each call at once, and notes what is done with it
NOTED = """
from concurrent.futures import Executor, Future

def note(word):
    with open("noted.txt", "a") as log:
        log.write(word + " ")

class Noted(Executor):
    def submit(self, fn, /, *args):
        note(args[1].__name__)
        future = Future()
        future.set_result(fn(*args))
        return future

    def shutdown(self, wait=True):
        note("shutdown")

def pytest_sessionfinish():
    note("finish")

def pytest_fragility_executor(config):
    note("asked")
    return Noted()
"""


def outcomes(project: Project, *arguments: str) -> dict[str, str]:
    """Return how each check of an audit ended, and its numbers, without the rerun command."""
    records = project.records(*arguments)
    return {record["check"]: repr({**record, "test": None}) for record in records}


def test_a_hook_says_who_trains_and_measures(project: Project) -> None:
    """It is asked once, for all audits, and what it returns is shut down first of all."""
    project.audit("falling")
    here = outcomes(project, "--fragility-cache-dir=here")
    (project.path / "conftest.py").write_text(NOTED)
    assert outcomes(project, "--fragility-cache-dir=there") == here
    asked, *work, shutdown, finish = (project.path / "noted.txt").read_text().split()
    assert (asked, shutdown, finish) == ("asked", "shutdown", "finish")
    assert work.count("train_order") >= 1
    assert work.count("answer") >= 6
    assert len(work) == work.count("train_order") + work.count("answer")
    names = [{path.name for path in project.stored(folder)} for folder in ("here", "there")]
    assert names[0] == names[1] != set()


def test_a_hook_is_not_asked_for_nothing(project: Project) -> None:
    """Neither at collection nor where no networks are used."""
    project.audit("falling")
    project.write("def test_plain(fragility): pass", "test_plain")
    (project.path / "conftest.py").write_text(NOTED)
    project.run("--fragility", "--collect-only")
    project.run("--fragility", "test_plain.py")
    assert "asked" not in (project.path / "noted.txt").read_text()


@pytest.mark.parametrize(
    ("returned", "outcome"), [("None", "1 passed"), ("'host'", "*executor='host': expected a*")]
)
def test_what_a_hook_may_return(project: Project, returned: str, outcome: str) -> None:
    """None has all done here; what is no executor is an error that names it."""
    project.audit("falling")
    hook = f"def pytest_fragility_executor(config): return {returned}"
    (project.path / "conftest.py").write_text(hook)
    result = project.run("--fragility", "-k", "trend-baseline")
    result.stdout.fnmatch_lines([f"*{outcome}*"])


def test_a_dask_cluster_by_its_address(project: Project, dask_client: Any) -> None:
    """By the option, which a rerun repeats, and by its ini twin."""
    address = dask_client.scheduler.address
    project.audit("reversing")
    here = outcomes(project, "--fragility-cache-dir=here")
    there = outcomes(project, "--fragility-cache-dir=there", f"--fragility-dask={address}")
    assert there == here
    result = project.run("--fragility", f"--fragility-dask={address}", "-k", "trend-adam")
    result.stdout.fnmatch_lines([f"*Rerun: *--fragility-dask={address}*"])
    project.pytester.makeini(f"[pytest]\nfragility_dask = {address}\n")
    assert outcomes(project, "--fragility-cache-dir=there") == here


def test_nobody_at_the_address(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """The session ends before any test, with the address and what was expected."""
    pytest.importorskip("distributed")
    monkeypatch.setattr(dask_clusters, "SECONDS", 0.2)
    project.audit("falling")
    result = project.run("--fragility", "--fragility-dask=tcp://127.0.0.1:9")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--fragility-dask=tcp://127.0.0.1:9: no Dask scheduler*"])


def test_without_dask(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what to install."""
    monkeypatch.setattr(dask_clusters.util, "find_spec", lambda name: None)
    project.audit("falling")
    result = project.run("--fragility", "--fragility-dask=tcp://127.0.0.1:9")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*pip install 'pytest-fragility[[]dask]'*"])
