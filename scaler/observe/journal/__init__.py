"""The journal: what happened to each trigger in the last 24 hours."""

from scaler.observe.journal.journal import Journal
from scaler.observe.journal.view import View

__all__ = ["Journal", "View"]
