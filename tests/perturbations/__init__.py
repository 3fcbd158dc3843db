"""Perturbations, and the catalogue."""
