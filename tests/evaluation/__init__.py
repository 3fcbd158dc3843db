"""Measures asked about networks."""
