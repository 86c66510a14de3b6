"""One reading for each place, kept fresh while somebody asks."""
