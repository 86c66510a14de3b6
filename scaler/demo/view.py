"""What `scaler demo` shows: a moving table on a terminal, a line for every change elsewhere."""

import time
from collections.abc import Sequence
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from scaler.demo.stage import Row

_BARS = " ▁▂▃▄▅▆▇█"


def course_line(course: Sequence[int], most: int) -> str:
    """Return the course of the replicas as a line of bars, the newest at the right."""
    top = max(most, 1)
    return "".join(_BARS[-(-count * (len(_BARS) - 1) // top)] for count in course)


def _metrics(row: Row) -> str:
    return "\n".join(
        f"{name.partition('-')[2] or name} {'error' if value is None else f'{value:g}'} / {target:g}"
        for name, (value, target) in row.metrics.items()
    )


def _work(row: Row) -> str:
    interrupted = row.workload.interrupted
    return f"{row.waiting} {row.workload.label}" + ("" if interrupted is None else f"\n{interrupted} interrupted")


class View:
    """Shows the rows; `update` after every change."""

    def __init__(self, console: Console, address: str) -> None:
        """Show on `console`; `address` is the status page."""
        self._console, self._address = console, address
        self._live = Live(console=console, auto_refresh=False, transient=False) if console.is_terminal else None
        self._began = time.monotonic()
        self._told: dict[str, int] = {}

    def __enter__(self) -> Self:
        """Begin to show."""
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the last state on the screen."""
        if self._live is not None:
            self._live.stop()

    def update(self, rows: Sequence[Row]) -> None:
        """Show `rows` as they are now."""
        if self._live is not None:
            self._live.update(self._table(rows), refresh=True)
            return
        for row in rows:
            if self._told.get(row.workload.name, 0) != row.replicas:
                self._told[row.workload.name] = row.replicas
                seconds = time.monotonic() - self._began
                self._console.print(
                    f"{seconds:5.1f} s  {row.workload.name:<10} {row.last:<18} {row.waiting} {row.workload.label}",
                    highlight=False,
                )

    def _table(self, rows: Sequence[Row]) -> Group:
        table = Table(expand=True, box=None, padding=(0, 1))
        for title in ("workload", "work left", "value / target", "active", "replicas", "the last half minute"):
            table.add_column(title, no_wrap=title != "value / target")
        for row in rows:
            active = {True: Text("active", "green"), False: Text("asleep", "dim"), None: Text("…", "dim")}[row.active]
            table.add_row(
                f"{row.workload.name}\n[dim]{row.scaled_object.triggers[0].type}[/dim]",
                _work(row),
                _metrics(row),
                active,
                Text(str(row.replicas), "bold"),
                Text(course_line(row.course, row.most), "cyan"),
            )
        seconds = time.monotonic() - self._began
        return Group(Text(f"{seconds:.0f} s · status page {self._address} · Ctrl-C ends", "dim"), table)
