"""A small project to run pytest in, whose networks train in a moment."""

from __future__ import annotations

import importlib
import json
import pkgutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import filelock  # noqa: F401
import pytest
import safetensors.torch  # noqa: F401
import scipy.special  # noqa: F401
import sklearn.datasets  # noqa: F401

import pytest_fragility

# pytester forgets what is first imported inside of a run: import everything once, out here
for module in pkgutil.walk_packages(pytest_fragility.__path__, "pytest_fragility."):
    importlib.import_module(module.name)

AUDITS = """
import numpy as np
import pytest
from pytest_fragility import (
    MLP, Perturbation, Recipe, Task, TaskData, cross_entropy_below, fixed_steps
)
from pytest_fragility.measures import noise


def load():
    generator = np.random.default_rng(0)
    labels = generator.integers(3, size=140)
    inputs = generator.normal(size=(3, 6))[labels] + 0.8 * generator.normal(size=(140, 6))
    return TaskData(inputs[:80], labels[:80], inputs[80:], labels[80:])


SMALL = {
    "task": Task("blobs", load),
    "recipe": Recipe(architecture=MLP(hidden=(8,)), stopping=fixed_steps(30)),
    "sizes": (16, 32, 64),
    "seeds": 3,
    "perturbations": ["adam"],
    "error_margin": 10,
    "ladder": "none",
    "trend": "decreasing",
    # the others train more networks, or ask for more of them: their tests name them
    "checks": ["trend", "exponent", "spread"],
}
UNFINISHED = Perturbation(
    "unfinished", lambda recipe: recipe.replace(stopping=cross_entropy_below(1e-9, step_limit=5))
)


def falling(network):
    return 1 / network.n


def reversing(network):
    return float(network.n) ** (3 if network.recipe.optimizer.kind == "adam" else -1)


def raising(network):
    raise ValueError("no measure today")
"""

# notes every network that is written to the store, so that one that is written twice shows
COUNTED_SAVES = (
    "import pytest_fragility.store\n"
    "save = pytest_fragility.store.Store.save\n"
    "def counted(self, trained, key):\n"
    "    with open('saved.txt', 'a') as log:\n"
    "        log.write(key + '\\n')\n"
    "    save(self, trained, key)\n"
    "pytest_fragility.store.Store.save = counted\n"
)

# a process with torch in it takes a second to end, in which it is searched for garbage
RUN_APART = ["-p", "no:cacheprovider", "-p", "no:check", "-p", "quick_end"]
QUICK_END = "import gc\ndef pytest_unconfigure():\n    gc.freeze()\n"

# no cache, and none of the other plugins around, which take long to start
ALONE = [
    part
    for plugin in (
        "cacheprovider",
        "hypothesispytest",
        "benchmark",
        # has a fixture of our name
        "check",
        "randomly",
        "xdist",
        "xdist.looponfail",
    )
    for part in ("-p", f"no:{plugin}")
]
BASELINE_RUNS = 9  # of SMALL: three sizes, three seeds
CHECKS = ["trend-baseline", "trend-adam", "exponent-adam", "spread-adam"]
STANDARD_CHECKS = ["perturbations-admissible", "controls", "agreement"]
ALL_CHECKS = [*CHECKS, *STANDARD_CHECKS]


class Project:
    """A folder with the measures and settings above, and tests that are written to it.

    Parameters
    ----------
    pytester
        pytest's own fixture.
    """

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester
        self.path = pytester.path
        pytester.makepyfile(audits=AUDITS, quick_end=QUICK_END)

    def write(self, source: str, name: str = "test_audit") -> None:
        """Write a test file that knows everything in ``audits``."""
        path = self.path / f"{name}.py"
        path.write_text(f"from audits import *\n{source}", encoding="utf-8")

    def audit(self, measure: str, arguments: str = "**SMALL", test: str = "test_audit") -> None:
        """Write a test file that audits one measure."""
        self.write(
            f"@pytest.mark.fragility({measure}, {arguments})\ndef {test}(check):\n    check()\n"
        )

    def run(self, *arguments: str | Path) -> pytest.RunResult:
        """Run pytest in this process."""
        return self.pytester.runpytest_inprocess(*ALONE, *arguments)

    def run_apart(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run pytest in a process of its own; in random order where a seed is given for it."""
        monkeypatch = self.pytester._monkeypatch
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        in_order = ("-p", "no:randomly")
        if any(argument.startswith("--randomly-seed") for argument in arguments):
            in_order = ()
        return subprocess.run(
            [sys.executable, "-m", "pytest", *RUN_APART, *in_order, *arguments],
            check=False,
            cwd=self.path,
            capture_output=True,
            text=True,
            timeout=100,
        )

    def ids(self, *arguments: str | Path) -> list[str]:
        """Return the ids of what pytest collects."""
        return node_ids(self.run("--collect-only", "-q", *arguments).stdout.str())

    def stored(self, folder: str = ".fragility_cache") -> set[Path]:
        """Return the files of trained networks."""
        return set((self.path / folder).rglob("*.safetensors"))

    def records(self, *arguments: str | Path) -> list[dict[str, Any]]:
        """Run audits in this process; return what each check reported, read off its report."""
        _, reports = self.reports(*arguments)
        return [
            json.loads(str(value))
            for report in reports
            for name, value in report.user_properties
            if name == "fragility"
        ]

    def reports(self, *arguments: str | Path) -> tuple[int, list[pytest.TestReport]]:
        """Run pytest in this process; return the exit code and the reports of test calls."""
        caught = self.pytester.inline_run(*ALONE, "--fragility", *arguments)
        reports = caught.getreports("pytest_runtest_logreport")
        assert caught.ret is not None
        return int(caught.ret), [
            report
            for report in reports
            if isinstance(report, pytest.TestReport) and report.when == "call"
        ]


def node_ids(output: str) -> list[str]:
    """Return the test ids in the output of ``--collect-only -q``."""
    return [line for line in output.splitlines() if "::" in line and " " not in line]


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The option for a folder of networks that some test has trained and the others read."""
    return f"--fragility-cache-dir={tmp_path_factory.mktemp('shared')}"


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A small project; on GitHub it writes nothing to the summary of the job that tests it."""
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    return Project(pytester)
