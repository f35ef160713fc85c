"""The two jobs of `tests.speed.tools`, as one writes them with other tools; each file runs alone, in their Python."""
