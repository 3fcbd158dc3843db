"""What an audit asserts: its kinds of checks, how each is judged, and what people are told of it.

Each kind is one file, such as `spread`, and one line in `registry.KINDS`; a new one touches these,
a test and the README's table of checks. All others ask the registry, or what a kind says of itself.
Nothing here knows how networks are trained, or what a page looks like.
"""
