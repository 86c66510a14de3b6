"""Parses what Sidekiq keeps in Redis, of Sidekiq 6.4 to 8.1 in any mix. Pure.

Where versions differ, the form of the value decides, never the reported version, because several may share a Redis.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from scaler.sources.redis_places import RedisClock
from scaler.sources.sidekiq.info import Info, count, loads, parse_info

HEARTBEAT_FIELDS = ("info", "busy", "beat", "quiet", "concurrency")
HEARTBEAT_TTL_SECONDS = 60.0
"""Set again at every beat (sidekiq launcher.rb), so the remaining TTL gives the age of the beat without a clock."""
LATE_SECONDS = 30.0
"""Three missed beats of Sidekiq 7 and 8, six of Sidekiq 6."""


@dataclass(frozen=True, slots=True)
class Process:
    """A process that may be running: in the set `processes`, with a heartbeat that has not expired.

    A field is None if its value cannot be parsed.
    """

    identity: str
    info: Info | None
    busy: int | None
    concurrency: int | None
    quiet: bool
    late: bool
    """No beat for `LATE_SECONDS`: it may be dead, or only short of CPU."""
    jobs: tuple[tuple[str, int], ...] | None = None
    """The number of its running jobs by queue, if they were read."""
    began: tuple[float, ...] = ()
    """When the running jobs began, in Unix seconds of the process's clock."""

    @property
    def hostname(self) -> str:
        """The host, in Kubernetes the pod: identities are `hostname:pid:nonce` (sidekiq component.rb)."""
        return self.identity.rsplit(":", 2)[0]


@dataclass(frozen=True, slots=True)
class Depth:
    """A queue: how many jobs wait, and whether Sidekiq Pro has paused it."""

    waiting: int
    paused: bool


@dataclass(frozen=True, slots=True)
class Oldest:
    """The oldest job of a queue; `since` is None if it has no readable time."""

    exists: bool
    since: float | None
    clock: RedisClock


@dataclass(frozen=True, slots=True)
class Due:
    """The jobs of `schedule` and `retry` that are due soon: their times in order, by queue.

    Jobs under None have no readable queue. Jobs that are due after `complete_until` are not known.
    """

    times: Mapping[str | None, tuple[float, ...]]
    complete_until: float
    clock: RedisClock


def parse_set(answer: Any) -> tuple[bytes, ...]:
    """Return the members of a set, as they come: in the same order as long as the set stays the same."""
    if not isinstance(answer, list) or not all(isinstance(member, bytes) for member in answer):
        raise ValueError("no set")
    return tuple(answer)


def parse_members(answer: Any) -> tuple[bytes, ...]:
    """Return the members of a small set, in order."""
    return tuple(sorted(parse_set(answer)))


def parse_length(answer: Any) -> int:
    """Return the length in the answer to `LLEN`."""
    if not isinstance(answer, int) or answer < 0:
        raise ValueError("no length")
    return answer


def parse_process(identity: bytes, fields: Any, pttl: Any, now: float) -> Process | None:
    """Return the process, or None for a ghost; `now` is Redis' time.

    `fields` answers `HMGET` with `HEARTBEAT_FIELDS`, `pttl` milliseconds (`PTTL`).
    """
    if not isinstance(fields, list) or len(fields) != len(HEARTBEAT_FIELDS) or not isinstance(pttl, int):
        raise ValueError("no heartbeat")
    info_json, busy, beat, quiet, concurrency = fields
    age = _age(pttl, beat, now)
    if info_json is None and any(field is not None for field in (busy, beat, quiet, concurrency)):
        raise ValueError("a heartbeat without its info")  # Sidekiq writes all fields in one command (launcher.rb)
    if info_json is None or age > HEARTBEAT_TTL_SECONDS:
        return None
    info = parse_info(info_json)
    threads = count(concurrency)  # a field from 8.1.2 on, as it may change while the process runs
    if threads is None and info is not None:
        threads = info.concurrency
    return Process(
        identity=identity.decode("utf-8", "replace"),
        info=info,
        busy=count(busy),
        concurrency=threads or None,  # 0 threads are unknown, not a capacity
        quiet=quiet == b"true",
        late=age > LATE_SECONDS,
    )


def _age(pttl: int, beat: Any, now: float) -> float:
    """Return the seconds since the last beat, or infinity.

    A heartbeat without a TTL was restored from a dump, which loses it; only then the worker's clock is used.
    """
    if pttl >= 0:
        return HEARTBEAT_TTL_SECONDS - pttl / 1e3
    if pttl == -1 and (beaten := _seconds(beat)) is not None:
        return now - beaten
    return math.inf


def _seconds(value: Any) -> float | None:
    """Return a time, or None."""
    try:
        seconds = float(value)
    except (ValueError, TypeError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) else None


def with_jobs(process: Process, *answers: Any) -> Process:
    """Return `process` with its running jobs, from `HGETALL` of its `:work` (`:workers` up to 6.4.1).

    A job without a readable queue is left out.
    """
    queues: Counter[str] = Counter()
    began: list[float] = []
    for answer in answers:
        if not isinstance(answer, list) or len(answer) % 2:
            raise ValueError("no hash")
        for job in map(_load, answer[1::2]):
            if isinstance(queue := job.get("queue"), str):
                queues[queue] += 1
            if (at := _seconds(job.get("run_at"))) is not None:
                began.append(at)
    return replace(process, jobs=tuple(sorted(queues.items())), began=tuple(sorted(began)))


def _load(job: Any) -> dict[str, Any]:
    """Return the parsed job, empty if it cannot be parsed."""
    try:
        loaded = loads(job)
    except (ValueError, TypeError, RecursionError):
        return {}
    return loaded if isinstance(loaded, dict) else {}


def parse_oldest(answer: Any, clock: RedisClock) -> Oldest:
    """Return the time of the job in the answer to `LINDEX -1`.

    The time is `enqueued_at`, else `created_at` as in sidekiq api.rb: seconds, from Sidekiq 8 on milliseconds.
    """
    if answer is None:
        return Oldest(exists=False, since=None, clock=clock)
    job = _load(answer)
    times = (_seconds(job.get(key)) for key in ("enqueued_at", "created_at"))
    since = next((time for time in times if time is not None and time > 0), None)
    if since is not None and since > 1e11:  # as seconds this is the year 5138, as milliseconds 1973
        since /= 1e3
    return Oldest(exists=True, since=since, clock=clock)


def parse_due(pages: Iterable[tuple[Any, int]], clock: RedisClock) -> Due:
    """Parse the answers to `ZRANGEBYSCORE … WITHSCORES LIMIT 0 limit` for `schedule` and `retry`, with each limit."""
    times: dict[str | None, list[float]] = {}
    complete_until = math.inf
    for answer, limit in pages:
        if not isinstance(answer, list) or len(answer) % 2:
            raise ValueError("no sorted set")
        scores = [float(score) for score in answer[1::2]]
        for job, score in zip(answer[::2], scores, strict=True):
            queue = _load(job).get("queue")
            times.setdefault(queue if isinstance(queue, str) else None, []).append(score)
        if len(scores) >= limit:
            complete_until = min(complete_until, scores[-1])
    return Due({queue: tuple(sorted(found)) for queue, found in times.items()}, complete_until, clock)
