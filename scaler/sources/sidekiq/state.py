"""Reads the answers of Redis to what Sidekiq keeps there; pure, for Sidekiq 6.4 to 8.1 in any mix.

Where versions differ the value decides, never the version that a process tells: several run on one Redis.
"""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from scaler.sources.redis_places import RedisClock

HEARTBEAT_FIELDS = ("info", "busy", "beat", "quiet", "concurrency")
HEARTBEAT_TTL_SECONDS = 60.0
"""Set anew with every beat (sidekiq launcher.rb), so the rest of it tells the age of the beat without any clock."""
LATE_SECONDS = 30.0
"""Three beats of Sidekiq 7 and 8 missed, six of Sidekiq 6."""
MAX_COUNT = 1_000_000
"""More threads than any process has: a greater number is garbage."""
_CACHED_BYTES = 8_192


@dataclass(frozen=True, slots=True)
class Capsule:
    """A part of a process with its own threads and queues (sidekiq capsule.rb)."""

    name: str
    concurrency: int | None
    queues: frozenset[str]


@dataclass(frozen=True, slots=True)
class Info:
    """What a process says of itself when it starts."""

    tag: str
    labels: frozenset[str]
    queues: frozenset[str]
    capsules: tuple[Capsule, ...]
    concurrency: int | None


@dataclass(frozen=True, slots=True)
class Process:
    """A process that may be running: in the set `processes`, with a heartbeat that has not run out.

    None stands for what cannot be understood.
    """

    identity: str
    info: Info | None
    busy: int | None
    concurrency: int | None
    quiet: bool
    late: bool
    """No beat for `LATE_SECONDS`: it may be dead, or only starved."""
    jobs: tuple[tuple[str, int], ...] | None = None
    """How many jobs of each queue it is working on, where that was read."""

    @property
    def hostname(self) -> str:
        """The host, in Kubernetes the pod: identities are `hostname:pid:nonce` (sidekiq component.rb)."""
        return self.identity.rsplit(":", 2)[0]


@dataclass(frozen=True)
class Processes:
    """All processes of one Redis."""

    live: tuple[Process, ...]
    ghosts: int = 0
    """Members of `processes` without a heartbeat: killed, and not yet removed by another process."""
    strangers: int = 0
    """Members of `processes` whose key is no heartbeat at all."""

    @cached_property
    def memo(self) -> dict[Any, Any]:
        """Results that triggers share as long as nothing changes."""
        return {}


@dataclass(frozen=True, slots=True)
class Depth:
    """A queue: how many jobs wait, and whether Sidekiq Pro has paused it."""

    waiting: int
    paused: bool


@dataclass(frozen=True, slots=True)
class Oldest:
    """The job that is taken next from a queue, which waits longest; `since` is None if it does not tell its time."""

    exists: bool
    since: float | None
    clock: RedisClock


@dataclass(frozen=True, slots=True)
class Due:
    """Jobs of `schedule` and `retry` that are due soon: their times in order, for each queue.

    Jobs of the queue None do not tell their queue. Of what is due after `complete_until`, nothing is known.
    """

    times: Mapping[str | None, tuple[float, ...]]
    complete_until: float
    clock: RedisClock


def parse_members(answer: Any) -> tuple[bytes, ...]:
    """Return the members of a set, in order."""
    if not isinstance(answer, list) or not all(isinstance(member, bytes) for member in answer):
        raise ValueError("no set")
    return tuple(sorted(answer))


def parse_length(answer: Any) -> int:
    """Return what `LLEN` answered."""
    if not isinstance(answer, int) or answer < 0:
        raise ValueError("no length")
    return answer


def parse_process(identity: bytes, fields: Any, pttl: Any, jobs: Any, now: float) -> Process | None:
    """Return the process, or None for a ghost; `now` is Redis' time.

    `fields` answers `HMGET` with `HEARTBEAT_FIELDS`, `pttl` milliseconds (`PTTL`), `jobs` answers `HGETALL` of its
    `:work`, or is None if that was not read.
    """
    if not isinstance(fields, list) or len(fields) != len(HEARTBEAT_FIELDS) or not isinstance(pttl, int):
        raise ValueError("no heartbeat")
    told, busy, beat, quiet, concurrency = fields
    age = _age(pttl, beat, now)
    if told is None or age > HEARTBEAT_TTL_SECONDS:
        return None
    info = parse_info(told)
    threads = _count(concurrency)  # from 8.1.2 on, where it may change while the process runs
    if threads is None and info is not None:
        threads = info.concurrency
    return Process(
        identity=identity.decode("utf-8", "replace"),
        info=info,
        busy=_count(busy),
        concurrency=threads or None,  # a process without threads has no capacity to tell of
        quiet=quiet == b"true",
        late=age > LATE_SECONDS,
        jobs=None if jobs is None else _jobs_by_queue(jobs),
    )


def _age(pttl: int, beat: Any, now: float) -> float:
    """Return the seconds since the last beat, or infinity.

    A heartbeat without a time to live was restored from a dump, which loses it: only then the worker's clock counts.
    """
    if pttl >= 0:
        return HEARTBEAT_TTL_SECONDS - pttl / 1e3
    if pttl == -1 and (beaten := _seconds(beat)) is not None:
        return now - beaten
    return math.inf


def parse_info(told: bytes) -> Info | None:
    """Return what the JSON `info` says, or None if it cannot be understood."""
    return _cached_info(told) if len(told) <= _CACHED_BYTES else _parse_info(told)


@lru_cache(maxsize=2_048)
def _cached_info(told: bytes) -> Info | None:
    """Parse it once: a process never changes its `info`."""
    return _parse_info(told)


def _parse_info(told: bytes) -> Info | None:
    try:
        info = json.loads(told)
        capsules = tuple(
            Capsule(str(name), _count(capsule["concurrency"]), _names(capsule["weights"]))
            for name, capsule in info.get("capsules", {}).items()
        )
        threads = [capsule.concurrency for capsule in capsules]
        of_capsules = sum(filter(None, threads)) if threads and None not in threads else None
        named = frozenset[str]().union(*(capsule.queues for capsule in capsules))
        return Info(
            tag=_name(info.get("tag") or ""),
            labels=_names(info.get("labels") or []),
            queues=named or _names(info["queues"]),  # Sidekiq 9 will no longer tell `queues` (launcher.rb)
            capsules=capsules,
            concurrency=_count(info["concurrency"]) if "concurrency" in info else of_capsules,
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _name(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("no name")
    return value


def _names(values: Iterable[Any]) -> frozenset[str]:
    if not isinstance(values, list | dict):
        raise TypeError("no names")
    return frozenset(map(_name, values))


def _count(value: Any) -> int | None:
    """Return a count of threads from a hash field or from JSON, or None."""
    if isinstance(value, bytes):
        value = int(value) if value.isdigit() and len(value) <= 7 else None
    return value if type(value) is int and 0 <= value <= MAX_COUNT else None


def _seconds(value: Any) -> float | None:
    """Return a time, or None."""
    try:
        seconds = float(value)
    except (ValueError, TypeError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) else None


def _jobs_by_queue(answer: Any) -> tuple[tuple[str, int], ...]:
    """Count the jobs under way by queue; one that does not tell its queue is left out and so stays unexplained."""
    if not isinstance(answer, list) or len(answer) % 2:
        raise ValueError("no hash")
    queues = (_load(job).get("queue") for job in answer[1::2])
    return tuple(sorted(Counter(queue for queue in queues if isinstance(queue, str)).items()))


def _load(job: Any) -> dict[str, Any]:
    """Return a job, empty if it cannot be understood."""
    try:
        loaded = json.loads(job)
    except (ValueError, TypeError, RecursionError):
        return {}
    return loaded if isinstance(loaded, dict) else {}


def parse_oldest(answer: Any, clock: RedisClock) -> Oldest:
    """Return since when the job waits that `LINDEX -1` answered.

    The time is `enqueued_at`, else `created_at` as in sidekiq api.rb: seconds, from Sidekiq 8 on milliseconds.
    """
    if answer is None:
        return Oldest(exists=False, since=None, clock=clock)
    job = _load(answer)
    times = (_seconds(job.get(key)) for key in ("enqueued_at", "created_at"))
    since = next((time for time in times if time is not None and time > 0), None)
    if since is not None and since > 1e11:  # the year 5138 in seconds, 1973 in milliseconds
        since /= 1e3
    return Oldest(exists=True, since=since, clock=clock)


def parse_due(answers: Sequence[Any], limit: int, clock: RedisClock) -> Due:
    """Return what `ZRANGEBYSCORE … WITHSCORES LIMIT 0 limit` answered for `schedule` and for `retry`."""
    times: dict[str | None, list[float]] = {}
    complete_until = math.inf
    for answer in answers:
        if not isinstance(answer, list) or len(answer) % 2:
            raise ValueError("no sorted set")
        scores = [float(score) for score in answer[1::2]]
        for job, score in zip(answer[::2], scores, strict=True):
            queue = _load(job).get("queue")
            times.setdefault(queue if isinstance(queue, str) else None, []).append(score)
        if len(scores) >= limit:
            complete_until = min(complete_until, scores[-1])
    return Due({queue: tuple(sorted(found)) for queue, found in times.items()}, complete_until, clock)
