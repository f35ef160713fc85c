"""Faults of every kind, done to real processes: what is reported, that no output changes, that nothing is left."""
