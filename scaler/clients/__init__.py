"""Clients of external systems, for the readers of several sources."""
