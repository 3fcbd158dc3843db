"""Marginal likelihood."""
