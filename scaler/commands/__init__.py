"""The commands explain, validate and simulate."""
