"""The figures of a page, drawn by matplotlib as SVG.

They are handed plain data, and know no page.
"""
