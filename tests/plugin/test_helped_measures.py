"""Sessions whose measures workers help with: nothing looks different."""

from __future__ import annotations

import json
import re

from tests.plugin.conftest import Project

# at once, however short measuring is; counts what workers have answered
HELPED = """
import threading
from pytest_fragility.evaluation import helpers

helpers.HELP_AFTER = helpers.START_AFTER = -1.0
done, is_ready = [], threading.Event()
do_next, recruit = helpers.Helpers._do_next, helpers.Helpers.recruit


def counted(self):
    is_ready.set()
    done.append(do_next(self))
    return done[-1]


def awaited(self):
    recruit(self)
    # this process would be done before a worker has started
    if self._helping:
        is_ready.wait(60)


helpers.Helpers._do_next, helpers.Helpers.recruit = counted, awaited


def pytest_sessionfinish():
    print(f"workers answered {sum(done)} times")
"""

AUDITS = """
from pytest_fragility.measures import pac_bayes_flatness, path_norm, path_norm_at_initialization

@pytest.mark.fragility(path_norm, **SMALL)
def test_path_norm(check): check()

@pytest.mark.fragility(path_norm_at_initialization, **SMALL)
def test_a_control(check): check()

@pytest.mark.fragility(pac_bayes_flatness, **SMALL)
def test_a_measure_that_draws_numbers(check): check()
"""


def test_a_helped_session_says_what_one_alone_does(project: Project) -> None:
    """Value by value and word by word."""
    project.write(AUDITS)
    project.run("--fragility", "--fragility-report=alone")
    two = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "2")
    (project.path / "conftest.py").write_text(HELPED, encoding="utf-8")
    helped = project.run_apart(
        "--fragility", "--fragility-report=helped", "--fragility-durations", **two
    )
    answers = re.search(r"workers answered (\d+) times", helped.stdout)
    assert answers and int(answers[1]) >= 3, helped.stdout + helped.stderr
    assert "fragility durations" in helped.stdout and not helped.stderr
    audits = [
        json.loads((project.path / name / "audit.json").read_text(encoding="utf-8"))["audits"]
        for name in ("alone", "helped")
    ]
    assert len(audits[0]) == 3
    assert audits[0] == audits[1]
