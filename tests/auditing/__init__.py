"""Audits from start to end."""
