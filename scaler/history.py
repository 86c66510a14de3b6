"""The values of the last hour, for the chart on the status page, in half a kilobyte."""

import math
from array import array

STEP_SECONDS, STEPS = 30.0, 120


class History:
    """One value for each half minute of the last hour; times are monotonic seconds."""

    __slots__ = ("_slot", "_values")

    def __init__(self) -> None:
        """Take no room before the first value."""
        self._values = array("f")
        self._slot = -1

    def add(self, now: float, value: float) -> None:
        """Keep `value` as the newest of the present half minute."""
        slot = int(now / STEP_SECONDS)
        if not self._values:
            self._values = array("f", [math.nan]) * STEPS
        for missed in range(max(self._slot + 1, slot - STEPS), slot):
            self._values[missed % STEPS] = math.nan
        self._values[slot % STEPS] = value
        self._slot = slot

    def recent(self, now: float) -> list[float | None]:
        """Return the values, oldest first, None where nothing was read; empty if there never was one."""
        if not self._values:
            return []
        slot = int(now / STEP_SECONDS)
        steps = range(slot - STEPS + 1, slot + 1)
        values = (self._values[step % STEPS] if step <= self._slot else math.nan for step in steps)
        return [None if math.isnan(value) else value for value in values]
