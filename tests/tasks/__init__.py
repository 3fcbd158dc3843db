"""Tests of tasks, of what changes them, and of where their data come from."""
