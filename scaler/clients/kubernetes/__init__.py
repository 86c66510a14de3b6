"""A narrow client of the Kubernetes API: list, watch, and the projection of objects as they stream in."""
