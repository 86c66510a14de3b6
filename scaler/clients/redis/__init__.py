"""A client of Redis: URLs and servers, Sentinels, and one connection to read from for each Redis."""
