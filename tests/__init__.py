"""Tests, and the plain reference that they hold the trainer against."""

import os

# Two workers whose libraries start a thread per core each would wait for one another. Read when
# NumPy and torch are first imported, which is later than this.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

# Processes that tests start find what an earlier one has compiled: where this is set, each would
# rewrite the asserts of all of the plugin's modules anew, which takes a second.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
