"""What an audit asserts: planning, admissibility, judging, verdicts."""
