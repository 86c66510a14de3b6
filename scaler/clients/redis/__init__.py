"""Redis: where, as whom, and one connection that is read from."""
