"""Doubles of the backends and the stage on which they play; tests use the same doubles."""
