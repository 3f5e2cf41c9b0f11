"""The query room: the steps from text to a plan."""
