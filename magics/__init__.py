"""The %-commands."""
