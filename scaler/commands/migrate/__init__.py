"""Triggers of KEDA's own scalers in the words of this one, with their comments, and what must be granted for that."""

from scaler.commands.migrate.command import run_migrate
from scaler.commands.migrate.model import ADDRESS, Options

__all__ = ["ADDRESS", "Options", "run_migrate"]
