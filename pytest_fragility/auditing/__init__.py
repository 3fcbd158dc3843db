"""How an audit runs: plan, train, measure, judge."""
