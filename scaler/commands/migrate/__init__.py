"""The command `migrate`: rewrites triggers of KEDA's own scalers for this one, and says what must be granted."""

from scaler.commands.migrate.command import run_migrate
from scaler.commands.migrate.model import ADDRESS, Options

__all__ = ["ADDRESS", "Options", "run_migrate"]
