"""How an audit runs: networks are trained, a measure is asked about them, checks are judged.

`Engine` is the one way through, for calls of `audit` and for sessions of pytest; begin reading
there. A new way to come by seeds or networks is a `Strategy` beside `AtOnce` and `StagedAudit`.
Searches along axes, and families that grow on demand, stand beside it. Nothing here knows pytest.
"""
