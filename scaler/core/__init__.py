"""Used by all other folders: the domain types, the errors, clocks, limits and logs."""
