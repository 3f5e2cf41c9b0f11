"""The red team: 57 ways to see more than one may, tried through every door on every kind of source."""
