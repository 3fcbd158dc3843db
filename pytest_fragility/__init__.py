"""Audit generalization measures for fragility."""
