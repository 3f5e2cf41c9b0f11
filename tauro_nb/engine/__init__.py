"""The engine room: run a plan, stream Arrow, stop when told."""
