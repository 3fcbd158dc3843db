"""Settings of an audit."""
