"""Fetching over HTTP, through the guard of addresses."""
