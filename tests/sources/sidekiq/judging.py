"""Processes of Sidekiq, and what is judged of them."""

import math
from typing import Any

from scaler.core.domain import Assessment
from scaler.sources import triggers
from scaler.sources.redis_places import RedisClock
from scaler.sources.sidekiq import SidekiqTrigger
from scaler.sources.sidekiq.fleet import Processes
from scaler.sources.sidekiq.info import Info
from scaler.sources.sidekiq.known_queues import Elsewhere, Known
from scaler.sources.sidekiq.state import Depth, Due, Process

NOW = 1_800_000_000.0
CLOCK = RedisClock(0.0)
USED = frozenset({"default", "mail"})


def trigger(**metadata: str) -> SidekiqTrigger:
    parsed = triggers.parse({"source": "sidekiq", "redis": "main", "queues": "default", **metadata}, "shop")
    assert isinstance(parsed, SidekiqTrigger)
    return parsed


def process(host: str, busy: int = 0, *, queues: tuple[str, ...] = ("default",), **changes: Any) -> Process:
    info = Info(changes.pop("tag", "app"), frozenset(changes.pop("labels", ())), frozenset(queues), (), 5)
    fields = {"info": info, "concurrency": 5, "quiet": False, "late": False, **changes}
    return Process(f"{host}:1:{'0' * 12}", busy=busy, **fields)


def pod(deployment: str, number: int = 0) -> str:
    return f"{deployment}-6d4cf56db6-{number:05d}"


def judged(
    parsed: SidekiqTrigger,
    *live: Process,
    known: frozenset[str] | None = USED,
    waiting: dict[str, int] | None = None,
    near: dict[str, Elsewhere] | None = None,
    due: dict[str | None, tuple[float, ...]] | None = None,
    lost: tuple[Any, ...] = (),
    **counts: int,
) -> Assessment:
    plan = parsed.plan
    readings: dict[Any, Any] = {
        plan.processes: Processes(live, **counts),
        plan.due: Due(due or {}, math.inf, CLOCK),
        plan.known: Known(known, *lost),
        **{place: Depth((waiting or {}).get(place.queue, 0), paused=False) for place in plan.depths},
    }
    readings |= {place: (near or {}).get(place.queue, Elsewhere()) for place in parsed.further_places(readings)}
    return parsed.assess(readings, NOW)
