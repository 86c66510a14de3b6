"""For whom a read is under way, so that clients can budget what it takes."""

from contextvars import ContextVar

TENANT: ContextVar[str] = ContextVar("tenant", default="")
"""The namespace that asked first for the places of the present read; empty outside of reads. The store sets it."""
