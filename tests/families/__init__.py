"""Families: networks trained here or by others, and values that others measured."""
