"""Measures what the server costs: ratios within one run, on loopback, against doubles of the backends."""
