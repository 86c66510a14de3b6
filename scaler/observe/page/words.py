"""How numbers, durations and courses are written for people."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

NOTHING = "\u2013"


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


def latency(seconds: float | None) -> str:
    """Return a short time."""
    if seconds is None:
        return NOTHING
    if seconds >= 1:
        return f"{seconds:.1f} s"
    return f"{seconds * 1000:.0f} ms" if seconds >= 0.01 else f"{seconds * 1000:.1f} ms"


def number(value: float | None) -> str:
    """Return a number with at most two decimals, or more where it is small."""
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
    """A course as an SVG path in a box of `WIDTH` by `HEIGHT`, the height of its target in it, and the same in words."""

    path: str
    target_y: float
    text: str


def sparkline(values: Sequence[float | None], target: float) -> Sparkline | None:
    """Draw `values`, oldest first, from 0 to the greatest of them and `target`; None if there is nothing to draw."""
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
        # The move of length 0 lets a lone value show as a dot.
        path.append(f"L{point}" if pen_down else f"M{point}h0")
        pen_down = True
    last = next((value for value in reversed(values) if value is not None), math.nan)
    text = f"last {number(last)}, lowest {number(min(known))}, highest {number(max(known))}, target {number(target)}"
    return Sparkline("".join(path), round(_height(target, top), 2), text)


def _height(value: float, top: float) -> float:
    margin = 2.0
    return margin + (HEIGHT - 2 * margin) * (1 - value / top)
