"""Structured logs: JSON for machines, colours for people, and no message twice a second."""

import logging
import sys
from typing import Any

import structlog

from scaler.clock import Clock

MAX_REMEMBERED = 10_000


def configure(level: str, style: str) -> None:
    """Log events of `level` and above to standard error; `style` is `json`, `console` or `auto`."""
    console = style == "console" or (style == "auto" and sys.stderr.isatty())
    renderer: Any = structlog.dev.ConsoleRenderer() if console else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    # Libraries log what they send at debug level, tokens included: they stay at warning whatever `level` says.
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")


class Once:
    """Lets an event through once in a while for each key, so that a thousand polls make one line."""

    def __init__(self, clock: Clock, seconds: float = 300.0) -> None:
        """Let one through every `seconds`."""
        self._clock, self._seconds = clock, seconds
        self._last: dict[object, float] = {}

    def __call__(self, key: object) -> bool:
        """Tell whether the event of `key` is to be logged now."""
        now = self._clock.now()
        if now - self._last.get(key, float("-inf")) < self._seconds:
            return False
        if len(self._last) >= MAX_REMEMBERED:
            self._last.clear()
        self._last[key] = now
        return True
