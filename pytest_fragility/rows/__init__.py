"""Rows of a table: read from a file, a data frame or a list.

`read_rows.read_rows` is the way in; what it returns notes what is wrong with each row, so that it
is said together. What columns mean is for families to say, but for those of test error.
"""
