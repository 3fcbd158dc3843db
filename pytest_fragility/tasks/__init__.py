"""What is learned: tasks, and where their data come from."""

from pytest_fragility.tasks.digits import digits
from pytest_fragility.tasks.label_noise import with_label_noise
from pytest_fragility.tasks.named import get_task
from pytest_fragility.tasks.task import Task, TaskData

__all__ = ["Task", "TaskData", "digits", "get_task", "with_label_noise"]
