"""Tests, and the plain reference that they hold the trainer against."""
