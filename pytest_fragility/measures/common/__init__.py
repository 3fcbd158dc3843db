"""Numerics that several groups share."""
