"""Scores of removals against the truth of simulated pairs: pixels, physics, and what is left of the object."""
