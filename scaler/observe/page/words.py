"""Formats numbers, durations, events and charts for people."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from markupsafe import Markup

NOTHING = "\u2013"
_AGE = re.compile(r'(data-at="\d+">)[^<]*')


def duration(seconds: float | None) -> str:
    """Return `seconds` in at most two units."""
    if seconds is None:
        return NOTHING
    whole = int(seconds)
    if whole < 1:
        return "under 1 s"
    if whole < 120:
        return f"{whole} s"
    minutes, hours, days = whole // 60, whole // 3_600, whole // 86_400
    if minutes < 120:
        return f"{minutes} min"
    if hours < 48:
        return f"{hours} h {minutes % 60} min"
    return f"{days} d {hours % 24} h"


def age(seconds: float | None, now: float) -> "Markup | str":
    """Return how long ago something was, with its Unix time in the markup so that the page can update it."""
    from markupsafe import Markup  # noqa: PLC0415 - comes with jinja2, which is imported at the first page

    if seconds is None:
        return NOTHING
    return Markup('<span data-at="{:.0f}">{}</span>').format(now - seconds, duration(seconds))


def without_ages(text: str) -> str:
    """Return a page without its ages, so that it stays equal if only time has passed."""
    return _AGE.sub(r"\1", text)


def utc(unix: float) -> str:
    """Return a Unix time in ISO 8601."""
    return datetime.fromtimestamp(unix, UTC).isoformat(" ", "seconds").replace("+00:00", "Z")


def sentence(event: Mapping[str, Any]) -> str:
    """Return an event of the journal as a sentence."""
    kind, message = event["kind"], event.get("message", "")
    match kind:
        case "error":
            return f"KEDA is told the error {event['code']}: {message}"
        case "refused":
            count = event["count"]
            return f"metadata is refused, {count} {'time' if count == 1 else 'times'}: {event['code']}: {message}"
        case "held":
            return f"the last answer is held: {message}"
        case "settling":
            return "settling: less is read since trouble, and not told yet"
        case "fault":
            return f"cannot be read: {message}"
    texts = {
        "healed": "read again",
        "stream": f"open streams: {event.get('open', 0)}",
        "asked": f"KEDA asks again after {duration(event.get('after'))}",
    }
    return texts.get(kind, f"KEDA is told {kind}")


def latency(seconds: float | None) -> str:
    """Return a short time."""
    if seconds is None:
        return NOTHING
    if seconds >= 1:
        return f"{seconds:.1f} s"
    return f"{seconds * 1000:.0f} ms" if seconds >= 0.01 else f"{seconds * 1000:.1f} ms"


def number(value: float | None) -> str:
    """Return a number with at most two decimals, or more if it is small."""
    if value is None:
        return NOTHING
    if 0 < abs(value) < 0.01:
        return f"{value:.2g}"
    return f"{value:,.2f}".rstrip("0").rstrip(".")


def dollars(value: float | None) -> str:
    """Return an amount of US dollars."""
    return NOTHING if value is None else f"${value:,.2f}"


WIDTH, HEIGHT = 120, 28


@dataclass(frozen=True, slots=True)
class Sparkline:
    """A chart as an SVG path in a box of `WIDTH` by `HEIGHT`, the y of its target, and the same as a text."""

    path: str
    target_y: float
    text: str


def sparkline(values: Sequence[float | None], target: float) -> Sparkline | None:
    """Draw `values`, oldest first, from 0 to the largest of them and `target`; None without any value."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    top = max(*known, target)
    step = WIDTH / max(1, len(values) - 1)
    path, pen_down = [], False
    for index, value in enumerate(values):
        if value is None:
            pen_down = False
            continue
        point = f"{index * step:.4g} {_height(value, top):.4g}"
        # The line of length 0 makes a single value visible as a dot.
        path.append(f"L{point}" if pen_down else f"M{point}h0")
        pen_down = True
    last = next((value for value in reversed(values) if value is not None), math.nan)
    text = f"last {number(last)}, lowest {number(min(known))}, highest {number(max(known))}, target {number(target)}"
    return Sparkline("".join(path), round(_height(target, top), 2), text)


def _height(value: float, top: float) -> float:
    margin = 2.0
    return margin + (HEIGHT - 2 * margin) * (1 - value / top)
