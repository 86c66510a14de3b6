"""The command `demo`, and doubles of the backends, which the tests use as well."""
