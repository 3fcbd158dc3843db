"""Tests of the pytest plugin, each on a small project of its own."""
