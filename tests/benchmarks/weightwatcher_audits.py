"""The README's table of what audits of WeightWatcher's summary metrics say.

``python -m tests.benchmarks.weightwatcher_audits`` prints it; two minutes on two cores, and
``pip install 'pytest-fragility[examples]'`` before.
"""

from __future__ import annotations

from examples.test_weightwatcher import alpha, alpha_norm, spectral_norm, stable_rank
from pytest_fragility.checks.registry import ASKED_AS
from tests.benchmarks.reference_audits import print_table

AUDITED = {each.__name__: each for each in (alpha, alpha_norm, spectral_norm, stable_rank)}
# equivalences are those of networks with normalization layers that have no parameters
CHECKS = [kind for kind in ASKED_AS if kind != "equivalence"]


def main() -> None:
    """Print the table."""
    print_table(AUDITED, checks=CHECKS)


if __name__ == "__main__":
    main()
