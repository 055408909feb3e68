"""Simulated pairs of worlds, with an object and without it: what VOID's data is, made from seeds."""

from aftermath.counterfactual.suite import HELD_OUT_SEEDS, check_trainable

__all__ = ["HELD_OUT_SEEDS", "check_trainable"]
