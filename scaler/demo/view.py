"""The output of `scaler demo`: a live table on a terminal, else a line for every change."""

import math
import time
from collections.abc import Sequence
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from scaler.demo.stage import Row

_BARS = " ▁▂▃▄▅▆▇█"
_COLUMNS = (("workload", 12), ("KEDA", 9), ("replicas", 8), ("woke in", 7), ("work left", 16))
_GAP = 2
LEAST_COURSE = 8
"""The chart needs at least so many bars to be shown."""


def course_line(course: Sequence[int], most: int) -> str:
    """Return the replicas over time as a line of bars, the newest at the right."""
    top = max(most, 1)
    return "".join(_BARS[-(-count * (len(_BARS) - 1) // top)] for count in course)


def change_line(row: Row) -> str:
    """Return the last change and its reason: `push: 0 → 1, KEDAScaleTargetActivated`."""
    return f"{row.last}, {row.why}" if row.why else row.last


def woke(row: Row) -> str:
    """Return the time from the beginning of a cycle's work to the first replica."""
    if row.woke_seconds is None:
        return ""
    return f"{row.woke_seconds:.1f} s" if row.woke_seconds >= 1 else f"{math.ceil(row.woke_seconds * 1e3)} ms"


def cut_off(row: Row) -> str:
    """Return the number of interrupted jobs, "" if it is not counted."""
    interrupted = row.workload.interrupted
    return "" if interrupted is None else f"{interrupted} jobs interrupted"


def headline(row: Row, width: int) -> Text:
    """Return `row` as a line of `width` columns; the bars get the rest of the width, and are left out first."""
    if row.failing:  # the activity of a failed poll means nothing
        label = ("error", "red")
    else:
        label = {True: ("active", "green"), False: ("asleep", "dim"), None: ("not asked", "dim")}[row.active]
    cells = [
        (row.workload.name, "bold"),
        label,
        (str(row.replicas), "bold"),
        (woke(row), "magenta"),
        (f"{row.waiting} {row.workload.label}", ""),
    ]
    line = Text(overflow="fold")
    for (_, least), (text, style) in zip(_COLUMNS, cells, strict=True):
        line.append(text, style).append(" " * max(_GAP, least + _GAP - len(text)))
    left = width - len(line)
    if left >= LEAST_COURSE:
        line.append(course_line(list(row.course)[-left:], row.most), "cyan")
    return line


def details(row: Row) -> Text:
    """Return the metrics of `row`, its last change and the interrupted jobs, one on each line."""
    lines = [
        Text.assemble("  ", ("error" if value is None else f"{value:g}", "bold"), f" / {target:g}  ", (name, "dim"))
        for name, (value, target) in row.metrics.items()
    ]
    if row.failing:
        lines.append(Text(f"  {row.failing}", "red"))
    if row.last:
        lines.append(Text(f"  {change_line(row)}", "yellow"))
    if text := cut_off(row):
        lines.append(Text(f"  {text}", "red" if row.workload.interrupted else "green"))
    return Text("\n", overflow="fold").join(lines)


class View:
    """Shows the rows; call `update` after every change."""

    def __init__(self, console: Console, address: str, next_steps: Sequence[str] = ()) -> None:
        """Show on `console`; `address` is the status page, `next_steps` are suggestions to print last."""
        self._console, self._address, self._next_steps = console, address, next_steps
        self._live = Live(console=console, auto_refresh=False, transient=False) if console.is_terminal else None
        self._began = time.monotonic()
        self._announced: dict[str, int] = {}

    def __enter__(self) -> Self:
        """Begin to show; without a terminal, print the suggestions first."""
        if self._live is not None:
            self._live.start()
        else:
            self._console.print(
                f"status page: {self._address}", *self._next_steps, sep="\n", soft_wrap=True, highlight=False
            )
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the last state on the screen."""
        if self._live is not None:
            self._live.stop()

    def update(self, rows: Sequence[Row]) -> None:
        """Show `rows` as they are now."""
        if self._live is not None:
            self._live.update(self.picture(rows, time.monotonic() - self._began), refresh=True)
            return
        for row in rows:
            if self._announced.get(row.workload.name, 0) != row.replicas:
                self._announced[row.workload.name] = row.replicas
                seconds = time.monotonic() - self._began
                self._console.print(
                    f"{seconds:5.1f} s  {row.workload.name:<11} {change_line(row)}; {row.waiting} {row.workload.label}",
                    highlight=False,
                    soft_wrap=True,
                )

    def picture(self, rows: Sequence[Row], seconds: float) -> Group:
        """Return the whole picture, `seconds` after the beginning."""
        titles = "".join(f"{title:<{least + _GAP}}" for title, least in _COLUMNS)
        parts = [
            Text(f"{seconds:.0f} s · status page {self._address} · Ctrl-C ends", "dim", overflow="fold"),
            Text(titles.rstrip(), "dim", overflow="fold"),
        ]
        for row in rows:
            parts += [headline(row, self._console.width), details(row)]
        return Group(*parts, *(Text(line, "dim", overflow="fold") for line in self._next_steps))
