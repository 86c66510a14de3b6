"""The rate limit of one backend: a token bucket; its rate halves when the backend throttles, and recovers slowly."""

from dataclasses import dataclass

MIN_RATE = 1.0
RECOVERY_SECONDS = 60.0
"""Additive increase, as in TCP's AIMD: the rate grows from 0 to the whole limit in this time."""
RETRIES_PER_SECOND = 5.0
"""Retries of failed places at one backend, all together: 300 places with a wrong password must not flood it."""
RETRY_BURST = 10.0
RETRIES_EARNED = 4.0
"""Retries that a successful retry adds, so that each round is five times larger when a backend is back."""


@dataclass(slots=True)
class RateLimit:
    """How many reads one backend (an AWS account and region, a Redis, an API server) gets now.

    `limit` is the maximum of the configuration in reads per second, `rate` what is allowed at the moment.
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
        """Start at the full rate and with a full bucket, because a new process has to read every place at once."""
        self.rate = self.limit
        self.tokens = self._burst()

    def _burst(self) -> float:
        return max(1.0, self.rate / 4)

    def _refill(self, now: float) -> None:
        passed, self.at = now - self.at, now
        self.rate = min(self.limit, self.rate + passed * self.limit / RECOVERY_SECONDS)
        self.tokens = min(self._burst(), self.tokens + passed * self.rate)
        self.retries = max(self.retries, min(RETRY_BURST, self.retries + passed * RETRIES_PER_SECOND))

    def room(self, now: float) -> int:
        """Return how many reads may begin at `now`."""
        self._refill(now)
        return min(int(self.tokens + 1e-9), self.max_in_flight - self.in_flight)

    @property
    def is_full(self) -> bool:
        """Whether as many reads are in flight as are allowed, so that the next has to wait for the end of one."""
        return self.in_flight >= self.max_in_flight

    @property
    def may_retry(self) -> bool:
        """Whether one more failed place may be read, as of the last call of `room`."""
        return self.retries >= 1 - 1e-9

    def retry(self) -> None:
        """Note that a failed place is read again."""
        self.retries -= 1

    def recovered(self) -> None:
        """Note that a failed place was read well again."""
        self.retries = min(self.limit + RETRY_BURST, self.retries + RETRIES_EARNED)

    def begin(self, reads: int = 1) -> None:
        """Note that `reads` reads have begun."""
        self.tokens -= reads
        self.in_flight += reads

    def end(self, reads: int = 1) -> None:
        """Note that `reads` reads have ended, with or without a fault."""
        self.in_flight -= reads

    def wait_seconds(self, *, retry: bool = False) -> float:
        """Return how many seconds the rate delays the next read; with `retry`, the next read of a failed place.

        Where nothing delays it, that is 0 or less.
        """
        read = (1.0 - self.tokens) / self.rate
        return max(read, (1.0 - self.retries) / RETRIES_PER_SECOND) if retry else read

    def throttled(self, now: float) -> None:
        """Halve the rate, because the backend has throttled a read; several throttled reads of one burst count once."""
        if now - self.halved_at >= 1.0:
            self._refill(now)
            self.rate = max(min(MIN_RATE, self.limit), self.rate / 2)
            self.tokens = 0.0
            self.halved_at = now
