"""Small tools of no subject: texts, files, seeds, digests of code, a stopwatch.

Whatever stands here knows nothing of tasks, recipes or networks, and can be used everywhere.
"""
