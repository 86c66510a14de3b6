"""The values of the last hour, for the chart on the status page: in half a kilobyte, or in less while nothing changes."""

import math
from array import array

STEP_SECONDS, STEPS = 30.0, 120


class History:
    """One value for each half minute of the last hour; times are monotonic seconds."""

    __slots__ = ("_first", "_slot", "_value", "_values")

    def __init__(self) -> None:
        """Take no room before the first value."""
        self._values: array[float] | None = None  # once there were two values; until then `_value` since `_first`
        self._first = self._slot = -1
        self._value = math.nan

    def add(self, now: float, value: float) -> None:
        """Keep `value` as the newest of the present half minute."""
        slot = int(now / STEP_SECONDS)
        if self._slot < 0:
            self._first, self._value = slot, value
        elif self._values is None and (value != self._value or slot > self._slot + 1):
            self._values = array("f", [math.nan]) * STEPS
            for step in range(max(self._first, self._slot - STEPS + 1), self._slot + 1):
                self._values[step % STEPS] = self._value
        if self._values is not None:
            for missed in range(max(self._slot + 1, slot - STEPS), slot):
                self._values[missed % STEPS] = math.nan
            self._values[slot % STEPS] = value
        self._slot = slot

    def recent(self, now: float) -> list[float | None]:
        """Return the values, oldest first, None where nothing was read; empty if there never was one."""
        if self._slot < 0:
            return []
        slot = int(now / STEP_SECONDS)
        values = map(self._at, range(slot - STEPS + 1, slot + 1))
        return [None if math.isnan(value) else value for value in values]

    def _at(self, step: int) -> float:
        if step > self._slot:
            return math.nan
        if self._values is not None:
            return self._values[step % STEPS]
        return self._value if step >= self._first else math.nan
