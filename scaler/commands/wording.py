"""Formats numbers of simulations for people."""

import datetime as dt

CLOCK_TIME = 1e9
"""Larger times are Unix seconds (2001 and later); smaller ones count from the beginning of the trace."""


def duration(seconds: float | None) -> str:
    """Return seconds as text: `250 ms`, `17 s`, `2 min 5 s`, `1 h 10 min`, `3 d 2 h`; None is `-`."""
    if seconds is None:
        return "-"
    if 0 < seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.3g} s"
    whole = round(seconds)
    for size, name, below, small in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // below
            return f"{whole // size} {name}" + (f" {rest} {small}" if rest else "")
    return f"{whole} s"


def number(value: float | None) -> str:
    """Return a count or an amount as text, with separated thousands and only significant digits."""
    if value is None:
        return "-"
    if value == round(value):
        return f"{value:,.0f}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def moment(when: float, start: float) -> str:
    """Return a time as text: date and time in UTC, or the time since the start for a trace without a clock."""
    if when < CLOCK_TIME:
        return f"{duration(when - start)} after the start" if when > start else "the start"
    return dt.datetime.fromtimestamp(when, dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
