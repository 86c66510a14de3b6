"""Triggers of KEDA's own scalers in the words of this one, with their comments, and what must be granted for that."""
