"""What networks, or values, come with: some kinds of checks need more than learning curves."""

from __future__ import annotations

# pairs of trainings that are made for it, and give the same function
TRAINING = "training"
# the samples that each network was trained on
DATA = "data"
# networks that can be changed, and asked about again
NETWORKS = "networks"
# recipes that differ in nothing but where the training stops
STOPPING_POINTS = "stopping points"
# several tasks that are compared
TASKS = "tasks"
