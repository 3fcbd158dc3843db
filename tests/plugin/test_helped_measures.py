"""Sessions whose measures workers help with: nothing looks different."""

from __future__ import annotations

import json
import re

from tests.plugin.conftest import Project

# at once, however short measuring is; counts what workers have answered
HELPED = """
from pytest_fragility.evaluation import helpers

helpers.HELP_AFTER = helpers.START_AFTER = -1.0
asked = []
plain = helpers.Helpers._ask


def asking(*arguments):
    asked.append(arguments)
    return plain(*arguments)


def starting(self):
    import time

    recruit(self)
    while self._starting:
        time.sleep(0.01)


recruit = helpers.Helpers._recruit
helpers.Helpers._ask, helpers.Helpers._recruit = asking, starting


def pytest_sessionfinish():
    print(f"workers answered {len(asked)} times")
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
