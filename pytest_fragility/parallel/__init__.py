"""Who else works: processes of this machine, and the workers of executors and clusters.

It knows nothing of networks: a `Pool` is handed work and jobs, and gives replies. Whoever has work
to hand out goes through `pool`; a new kind of worker is a `Pool` of its own.
"""
