"""A small client of the Kubernetes API: list, watch, patch; of objects only the needed fields are kept."""
