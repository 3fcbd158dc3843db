"""Checks and their verdicts."""
