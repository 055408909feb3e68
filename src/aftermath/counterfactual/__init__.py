"""Simulated pairs of worlds, with an object and without it: what VOID's data is, made from seeds."""
