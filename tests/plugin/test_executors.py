"""Sessions whose networks are trained and measured elsewhere."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest

from pytest_fragility.parallel import dask_clusters
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

# a cluster of its own process, which says where its scheduler is and ends with its input
CLUSTER = """
from distributed import LocalCluster

if __name__ == "__main__":
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0") as cluster:
        print(cluster.scheduler_address, flush=True)
        input()
"""


# looked for and not imported: Dask replaces importlib's finder of plugins, which pytester puts back
needs_dask = pytest.mark.skipif(find_spec("distributed") is None, reason="Dask is not installed")


@pytest.fixture(scope="module")
def dask_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Dask scheduler with a worker."""
    script = tmp_path_factory.mktemp("cluster") / "cluster.py"
    script.write_text(CLUSTER)
    with subprocess.Popen(
        [sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as cluster:
        assert cluster.stdout is not None
        yield cluster.stdout.readline().strip()
        cluster.communicate("\n", timeout=60)


def by_check(records: list[dict[str, Any]]) -> dict[str, str]:
    """Return how each check of an audit ended, and its numbers, without the rerun command."""
    return {record["check"]: repr({**record, "test": None}) for record in records}


def outcomes(project: Project, *arguments: str) -> dict[str, str]:
    """Run audits in this process; return how their checks ended."""
    return by_check(project.records(*arguments))


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


def outcomes_apart(project: Project, *arguments: str) -> tuple[str, dict[str, str]]:
    """Run audits in a process of their own; return its output and how their checks ended.

    Dask's threads import modules at any time, which no run by pytester in this process bears.
    """
    result = project.run_apart("--fragility", "--junitxml=checks.xml", *arguments)
    assert result.returncode == pytest.ExitCode.TESTS_FAILED, result.stdout
    properties = ElementTree.parse(project.path / "checks.xml").iter("property")
    records = [each.get("value", "") for each in properties if each.get("name") == "fragility"]
    return result.stdout, by_check([json.loads(record) for record in records])


@needs_dask
def test_a_dask_cluster_by_its_address(project: Project, dask_address: str) -> None:
    """It says what is said without it, and a rerun repeats the option."""
    project.audit("reversing")
    here = outcomes(project, "--fragility-cache-dir=here")
    option = f"--fragility-dask={dask_address}"
    output, there = outcomes_apart(project, "--fragility-cache-dir=there", option)
    assert there == here != {}
    names = [{path.name for path in project.stored(folder)} for folder in ("here", "there")]
    assert names[0] == names[1] != set()
    assert option in next(line for line in output.splitlines() if "Rerun: " in line)


@needs_dask
@pytest.mark.parametrize("ini", [False, True])
def test_nobody_at_the_address(project: Project, ini: bool) -> None:
    """The session ends before any test, with the address and what was expected."""
    impatient = "from pytest_fragility.parallel import dask_clusters as d\nd.SECONDS = 0.2\n"
    (project.path / "conftest.py").write_text(impatient)
    project.audit("falling")
    address = "tcp://127.0.0.1:9"
    if ini:
        project.pytester.makeini(f"[pytest]\nfragility_dask = {address}\n")
    result = project.run_apart("--fragility", *([] if ini else [f"--fragility-dask={address}"]))
    assert result.returncode == pytest.ExitCode.USAGE_ERROR
    assert f"--fragility-dask={address}: no Dask scheduler answers" in result.stderr


@needs_dask
def test_a_cluster_without_workers(project: Project, tmp_path_factory: Any) -> None:
    """The terminal says so at once, each test fails with the address, and the session ends."""
    impatient = "from pytest_fragility.parallel import patience as p\np.SAID_AFTER = 0.1\n"
    (project.path / "conftest.py").write_text(impatient)
    project.audit("falling")
    script = tmp_path_factory.mktemp("empty") / "cluster.py"
    script.write_text(CLUSTER.replace("n_workers=1", "n_workers=0"))
    with subprocess.Popen(
        [sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as cluster:
        assert cluster.stdout is not None
        address = cluster.stdout.readline().strip()
        limit = "--fragility-executor-timeout=3"
        result = project.run_apart("--fragility", f"--fragility-dask={address}", limit)
        cluster.communicate("\n", timeout=60)
    assert result.returncode == pytest.ExitCode.TESTS_FAILED
    lines = [line for line in result.stdout.splitlines() if line.startswith("fragility: the Dask")]
    assert lines
    assert address in lines[0]
    assert f"TrainingError: the Dask scheduler at {address}" in result.stdout


@pytest.mark.parametrize("value", ["0", "-1", "nan", "1e300"])
def test_the_limit_of_executors_is_seconds(project: Project, value: str) -> None:
    """On the command line, and in a configuration file."""
    project.audit("falling")
    result = project.run("--fragility", f"--fragility-executor-timeout={value}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*executor_timeout=*: expected seconds, more than zero*"])
    project.pytester.makeini(f"[pytest]\nfragility_executor_timeout = {value}\n")
    assert project.run("--fragility").ret == pytest.ExitCode.USAGE_ERROR


def test_a_marker_has_no_limit_of_executors(project: Project) -> None:
    """All audits share them."""
    project.audit("falling", "executor_timeout=3")
    result = project.run("--fragility")
    result.stdout.fnmatch_lines(["*executor_timeout: all audits of a session share*"])
    assert result.ret != pytest.ExitCode.OK


def test_without_dask(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what to install."""
    # importlib's own is also how pytest finds plugins
    monkeypatch.setattr(dask_clusters, "util", SimpleNamespace(find_spec=lambda name: None))
    project.audit("falling")
    result = project.run("--fragility", "--fragility-dask=tcp://127.0.0.1:9")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*pip install 'pytest-fragility[[]dask]'*"])
