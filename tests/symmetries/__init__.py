"""Symmetries of networks."""
