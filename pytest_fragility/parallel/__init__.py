"""Who else works: processes of this machine, and the workers of executors and clusters.

It knows nothing of networks: it is handed functions and their arguments.
"""
