"""The batched trainer: many small networks in one stack, as if each were trained alone.

`trainer.train` is the way in; `training_loop` trains one stack. A new form for a stack stands in
`stacked_forms`, and is compared with the module itself before anything is trained. Files that
decide what a training gives are listed in `version`: a change of them makes stored runs stale.
"""
