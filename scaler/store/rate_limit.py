"""How fast one backend may be asked: a token bucket that halves when the backend complains and recovers slowly."""

from dataclasses import dataclass

MIN_RATE = 1.0
RECOVERY_SECONDS = 60.0
"""Additive increase: from nothing back to the whole limit in this time (AIMD, as in TCP)."""
RETRIES_PER_SECOND = 5.0
"""How often one backend is asked again for what has failed, by all together: 300 wrong passwords are no flood."""
RETRY_BURST = 10.0
RETRIES_EARNED = 4.0
"""Retries that one which went well earns: a backend that is back is read whole in a few rounds, each five times larger."""


@dataclass(slots=True)
class RateLimit:
    """What one backend (an AWS account and region, a Redis, an API server) may be asked now.

    `limit` is the most reads per second that the configuration allows, `rate` what is allowed at the moment.
    """

    limit: float
    at: float
    max_in_flight: int = 64
    rate: float = 0.0
    tokens: float = 1.0
    retries: float = RETRY_BURST
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
        self.retries = max(self.retries, min(RETRY_BURST, self.retries + passed * RETRIES_PER_SECOND))

    def room(self, now: float) -> int:
        """Return how many reads may begin at `now`."""
        self._refill(now)
        return min(int(self.tokens + 1e-9), self.max_in_flight - self.in_flight)

    @property
    def is_full(self) -> bool:
        """Whether the next read has to wait for the end of another."""
        return self.in_flight >= self.max_in_flight

    @property
    def may_retry(self) -> bool:
        """Whether one more place that has failed may be asked for, as of the last look at `room`."""
        return self.retries >= 1 - 1e-9

    def retry(self) -> None:
        """Note that a place that has failed is asked for again."""
        self.retries -= 1

    def recovered(self) -> None:
        """Note that a place that had failed was read well."""
        self.retries = min(self.limit + RETRY_BURST, self.retries + RETRIES_EARNED)

    def begin(self, reads: int = 1) -> None:
        """Note that `reads` reads have begun."""
        self.tokens -= reads
        self.in_flight += reads

    def end(self, reads: int = 1) -> None:
        """Note that `reads` reads have ended, well or not."""
        self.in_flight -= reads

    def wait_seconds(self, *, retry: bool = False) -> float:
        """Return how long it takes until the next read may begin, as far as the rate decides; `retry`: of what failed."""
        read = max(0.0, (1.0 - self.tokens) / self.rate)
        return max(read, (1.0 - self.retries) / RETRIES_PER_SECOND) if retry else read

    def throttled(self, now: float) -> None:
        """Halve the rate: the backend complained. Complaints about one burst count once."""
        if now - self.halved_at >= 1.0:
            self._refill(now)
            self.rate = max(min(MIN_RATE, self.limit), self.rate / 2)
            self.tokens = min(self.tokens, 0.0)
            self.halved_at = now
