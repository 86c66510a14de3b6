"""The commands of the command line, except `serve` and `demo`."""
