"""The tenant that a read is for, so that clients can budget its memory and connections."""

from contextvars import ContextVar

TENANT: ContextVar[str] = ContextVar("tenant", default="")
"""The namespace that first leased the places of the current read; empty outside of reads. The store sets it."""
