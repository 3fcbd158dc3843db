"""Asking measures about networks, whoever works: here, beside this process, or on a cluster.

`asking` is the way in, `measured_curves` what audits call. Each call is held to its word by
`calling` and `unchanged`. A new way to hand work out belongs in `parallel`, not here.
"""
