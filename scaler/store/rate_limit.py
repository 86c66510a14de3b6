"""How fast one backend may be asked: a token bucket that halves when the backend complains and recovers slowly."""

from dataclasses import dataclass

MIN_RATE = 1.0
RECOVERY_SECONDS = 60.0
"""Additive increase: from nothing back to the whole limit in this time (AIMD, as in TCP)."""


@dataclass(slots=True)
class Lane:
    """One backend (an AWS account and region, a Redis, an API server): what it may be asked now.

    `limit` is the most reads per second that the configuration allows, `rate` what is allowed at the moment.
    """

    limit: float
    at: float
    max_in_flight: int = 64
    rate: float = 0.0
    tokens: float = 1.0
    in_flight: int = 0
    halved_at: float = float("-inf")

    def __post_init__(self) -> None:
        """Start at the full rate, with as many tokens as may be in flight: a start reads everything at once."""
        self.rate = self.limit
        self.tokens = self._burst()

    def _burst(self) -> float:
        return max(1.0, self.rate / 4)

    def _refill(self, now: float) -> None:
        passed = max(0.0, now - self.at)
        self.at = now
        self.rate = min(self.limit, self.rate + passed * self.limit / RECOVERY_SECONDS)
        self.tokens = min(self._burst(), self.tokens + passed * self.rate)

    def room(self, now: float) -> int:
        """Return how many reads may begin at `now`."""
        self._refill(now)
        return min(int(self.tokens + 1e-9), self.max_in_flight - self.in_flight)

    @property
    def is_full(self) -> bool:
        """Whether the next read has to wait for the end of another."""
        return self.in_flight >= self.max_in_flight

    def begin(self, reads: int = 1) -> None:
        """Note that `reads` reads have begun."""
        self.tokens -= reads
        self.in_flight += reads

    def end(self, reads: int = 1) -> None:
        """Note that `reads` reads have ended, well or not."""
        self.in_flight -= reads

    def wait_seconds(self) -> float:
        """Return how long it takes until the next read may begin, as far as the rate decides; 0 if it may now."""
        return max(0.0, (1.0 - self.tokens) / self.rate)

    def throttled(self, now: float) -> None:
        """Halve the rate: the backend complained. Complaints about one burst count once."""
        if now - self.halved_at >= 1.0:
            self._refill(now)
            self.rate = max(min(MIN_RATE, self.limit), self.rate / 2)
            self.tokens = min(self.tokens, 0.0)
            self.halved_at = now
