"""Numerics that several groups of measures share."""
