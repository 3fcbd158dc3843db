"""What people read of audits: the terminal's table, messages, Markdown, comparisons and the page.

All of it is made from records, which are plain data, and from what each kind of check says of its
own (`pytest_fragility.checks`). What is here decides where things stand, and knows no single kind.
"""
