"""Structured logs: JSON for machines, colours for people, and no secrets in tracebacks."""

import logging
import sys
import threading
import traceback
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from scaler.core.clock import Clock


@contextmanager
def _hidden(module: str) -> Iterator[None]:
    """Make `module` look as if it were not installed."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]  # None makes the import fail
    try:
        yield
    finally:
        del sys.modules[module]


with _hidden("rich"):  # structlog would import it for its tracebacks, which are not used here; that takes 4 MB
    import structlog

get_logger = structlog.get_logger
MAX_REMEMBERED = 10_000
MAX_LINES = 200
"""Lines of one namespace in the time of `Once`; its triggers can fail in any number of ways."""


def crash(error: BaseException) -> str:
    """Return the classes and lines of `error` and its causes, but never their messages.

    An unexpected exception may quote a URL, a header or an answer, and so a secret.
    """
    parts = []
    while True:
        stack = "".join(traceback.format_tb(error.__traceback__))
        parts.append(f"{stack}{type(error).__module__}.{type(error).__qualname__} (its message may hold a secret)")
        cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if cause is None:
            return "\n\nwhich led to\n\n".join(reversed(parts))
        error = cause


def _format_crash(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace the exception of an event by its `crash`; a structlog processor."""
    found = event.pop("exc_info", None)
    if found is True:
        found = sys.exc_info()
    error = found[1] if isinstance(found, tuple) else found
    if isinstance(error, BaseException):
        event["exception"] = crash(error)
    return event


class _Formatter(logging.Formatter):
    """Formats what libraries log, with exceptions as `crash` returns them."""

    def formatException(self, ei: Any) -> str:  # noqa: N802 - the name that logging calls
        return crash(ei[1]) if ei[1] is not None else ""


def _uncaught(_kind: type[BaseException], error: BaseException, _trace: TracebackType | None) -> None:
    sys.stderr.write(f"{crash(error)}\n")


def configure(level: str, style: str) -> None:
    """Log events of `level` and above to standard error; `style` is `json`, `console` or `auto`."""
    console = style == "console" or (style == "auto" and sys.stderr.isatty())
    pretty = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    renderer: Any = pretty if console else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            _format_crash,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    # Libraries log tokens at debug level, so they stay at warning, whatever `level` is.
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter("%(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    sys.excepthook = _uncaught
    threading.excepthook = lambda found: _uncaught(found.exc_type, found.exc_value or found.exc_type(), None)


class Once:
    """Limits how often an event is logged for each key, so that a thousand polls give one line."""

    def __init__(self, clock: Clock, seconds: float = 300.0) -> None:
        """Allow one event every `seconds` for each key."""
        self._clock, self._seconds = clock, seconds
        self._last: dict[object, float] = {}
        self._lines: dict[str, tuple[float, int]] = {}  # since when they are counted, and how many

    def __call__(self, key: object, namespace: str | None = None) -> bool:
        """Tell whether the event of `key` is to be logged now; those of a `namespace` are at most `MAX_LINES`."""
        now = self._clock.now()
        if now - self._last.get(key, float("-inf")) < self._seconds:
            return False
        if namespace is not None and not self._has_room(namespace, now):
            return False
        if len(self._last) >= MAX_REMEMBERED:
            self._last.clear()
        self._last[key] = now
        return True

    def _has_room(self, namespace: str, now: float) -> bool:
        """Count a line of `namespace`, and say once that there are too many."""
        since, lines = self._lines.get(namespace, (now, 0))
        if now - since >= self._seconds:
            since, lines = now, 0
        if namespace not in self._lines and len(self._lines) >= MAX_REMEMBERED:
            self._lines.clear()
        self._lines[namespace] = since, lines + 1
        if lines == MAX_LINES:
            get_logger().warning("more errors are left out of the log", namespace=namespace, seconds=self._seconds)
        return lines < MAX_LINES
