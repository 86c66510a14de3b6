"""A recorded load: a CSV with a header, `time` in seconds and counts; a row is valid until the next."""

import csv
import io
import math
from bisect import bisect_right
from dataclasses import dataclass

from scaler.core.errors import ScalerError

MAX_ROWS = 2_000_000


class TraceError(ScalerError):
    """The trace cannot be read; the text begins with `FILE:LINE:`."""

    code = "INVALID_ARGUMENT"


@dataclass(frozen=True, slots=True)
class Trace:
    """Times in seconds, ascending, and a column of numbers of 0 or more for each name."""

    times: tuple[float, ...]
    columns: dict[str, tuple[float, ...]]

    @property
    def seconds(self) -> float:
        """From the first row to the last."""
        return self.times[-1] - self.times[0]

    def part(self, start: float, end: float) -> "Trace":
        """Return the part from `start` to `end`, both within the trace, with a row at each of them."""
        first, last = bisect_right(self.times, start) - 1, bisect_right(self.times, end) - 1
        rows = [first, *(row for row in range(first + 1, last + 1) if self.times[row] < end), last]
        times = (start, *(self.times[row] for row in rows[1:-1]), end)
        return Trace(times, {name: tuple(column[row] for row in rows) for name, column in self.columns.items()})


def parse(text: str, file: str) -> Trace:
    """Parse a trace; raises `TraceError` for a wrong header, a cell that is no number, or times that go back."""
    rows = csv.reader(io.StringIO(text))
    header = [name.strip() for name in next(rows, [])]
    if "time" not in header or len(header) < 2 or len(set(header)) != len(header):
        raise TraceError(f"{file}:1: the header must be `time` and at least one more column, each once")
    values: list[list[float]] = []
    for row in rows:
        if row:
            where = f"{file}:{rows.line_num}"
            values.append(_numbers(row, header, where))
            if len(values) > 1 and values[-1][header.index("time")] <= values[-2][header.index("time")]:
                raise TraceError(f"{where}: time must grow from row to row")
            if len(values) > MAX_ROWS:
                raise TraceError(f"{where}: at most {MAX_ROWS} rows are read")
    if not values:
        raise TraceError(f"{file}: no rows")
    columns = dict(zip(header, zip(*values, strict=True), strict=True))
    return Trace(tuple(columns.pop("time")), {name: tuple(column) for name, column in columns.items()})


def _numbers(row: list[str], header: list[str], where: str) -> list[float]:
    if len(row) != len(header):
        raise TraceError(f"{where}: {len(row)} cells, but the header has {len(header)}")
    try:
        numbers = [float(cell) for cell in row]
    except ValueError:
        raise TraceError(f"{where}: a cell is not a number") from None
    for name, number in zip(header, numbers, strict=True):
        if not math.isfinite(number) or (number < 0 and name != "time"):
            raise TraceError(f"{where}: {name} is {number}, but counts are finite and 0 or more")
    return numbers
