"""Rows of a table: read from a file, a data frame or a list."""
