import math
from collections.abc import Mapping
from typing import Any

import pytest

from scaler.core.domain import Assessment, Metric
from scaler.sources import triggers
from scaler.sources.redis_places import RedisClock
from scaler.sources.sidekiq import SidekiqTrigger
from scaler.sources.sidekiq.fleet import Processes
from scaler.sources.sidekiq.info import Info
from scaler.sources.sidekiq.known_queues import Known
from scaler.sources.sidekiq.state import Depth, Due, Oldest, Process

NOW = 1_800_000_000.0
CLOCK = RedisClock(100.0)


def trigger(**metadata: str) -> SidekiqTrigger:
    parsed = triggers.parse({"source": "sidekiq", "redis": "main", "queues": "default,mail", **metadata}, "shop")
    assert isinstance(parsed, SidekiqTrigger)
    return parsed


def process(name: str, busy: int | None, **changes: Any) -> Process:
    info = Info("shop", frozenset(), frozenset({"default", "mail"}), (), 5)
    return Process(
        f"{name}:1:a", **{"info": info, "concurrency": 5, "quiet": False, "late": False, **changes}, busy=busy
    )


def readings(
    parsed: SidekiqTrigger,
    *live: Process,
    waiting: Mapping[str, Depth] | None = None,
    due: Mapping[str | None, tuple[float, ...]] | None = None,
    since: Mapping[str, float | None] | None = None,
    **others: int,
) -> dict[Any, Any]:
    """Return what is read for `parsed`; times are those of Redis."""
    plan = parsed.plan
    depths = {place: (waiting or {}).get(place.queue, Depth(0, paused=False)) for place in plan.depths}
    oldest = {
        place: Oldest(place.queue in (since or {}), (since or {}).get(place.queue), CLOCK) for place in plan.oldest
    }
    return {
        plan.processes: Processes(live, **others),
        plan.due: Due(dict(due or {}), math.inf, CLOCK),
        plan.known: Known(frozenset({"default", "mail"})),
        **depths,
        **oldest,
    }


def judged(parsed: SidekiqTrigger, *live: Process, **found: Any) -> Assessment:
    return parsed.assess(readings(parsed, *live, **found), NOW)


def waits(**queues: int) -> dict[str, Any]:
    return {"waiting": {queue: Depth(count, paused=False) for queue, count in queues.items()}}


def value(assessment: Assessment, kind: str = "busy") -> float:
    return next(metric.value for metric in assessment.metrics if metric.name.startswith(f"sidekiq-{kind}-"))


def test_idle_is_inactive_and_zero() -> None:
    told = judged(trigger())
    assert told.metrics == (Metric("sidekiq-busy-default-mail", 0.0),)
    assert not told.active
    assert told.reasons == ("no job waits, is under way or falls due soon",)
    assert told.until == math.inf


@pytest.mark.parametrize(
    ("metadata", "live", "found", "active", "reason"),
    [
        ({}, [], waits(mail=1), True, "1 waiting jobs, more than activationQueueLength 0"),
        ({"activationQueueLength": "5"}, [], waits(mail=2, default=3), False, "5 waiting jobs, not more than"),
        ({"activationQueueLength": "5"}, [], waits(mail=3, default=3), True, "6 waiting jobs, more than"),
        ({}, [], {"waiting": {"mail": Depth(9, paused=True)}}, False, "no job waits"),
        ({}, [process("a", 0)], {}, False, "no job waits"),
        ({}, [process("a", 2)], {}, True, "2 busy threads"),
        ({}, [process("a", 2, quiet=True)], {}, True, "2 busy threads"),
        ({}, [process("a", 2, late=True)], {}, True, "2 busy threads"),
        ({"holdBusy": "false"}, [process("a", 2)], {}, False, "2 busy threads do not hold"),
        ({}, [process("a", None)], {}, True, "1 processes may be busy"),
        ({}, [process("a", 1, info=None)], {}, True, "1 processes may be busy"),
        ({"holdBusy": "false"}, [process("a", None)], {}, False, "no job waits"),
        ({}, [], {"due": {"mail": (NOW + 130,)}}, True, "1 scheduled or retried jobs due within 30 s"),
        ({}, [], {"due": {"mail": (NOW + 131,)}}, False, "no job waits"),
        ({"scheduleLeadSeconds": "0"}, [], {"due": {"mail": (NOW + 101,)}}, False, "no job waits"),
        ({}, [], {"due": {"other": (NOW,)}}, False, "no job waits"),
        ({}, [], {"due": {"mail": (NOW,)}, "waiting": {"mail": Depth(0, paused=True)}}, False, "no job waits"),
    ],
    ids=[
        "waiting",
        "not above the threshold",
        "above the threshold, of all queues",
        "paused",
        "idle process",
        "busy",
        "quiet and busy",
        "late and busy",
        "busy does not hold",
        "busy not understood",
        "info not understood",
        "not understood does not hold",
        "due soon",
        "due later",
        "no lead",
        "due for others",
        "due in a paused queue",
    ],
)
def test_activity_and_its_reason(
    metadata: dict[str, str], live: list[Process], found: dict[str, Any], active: object, reason: str
) -> None:
    told = judged(trigger(**metadata), *live, **found)
    assert told.active is active
    assert len(told.reasons) == 1
    assert reason in told.reasons[0]


def test_two_replicas_at_their_target_are_the_target_after_the_hpa_has_divided() -> None:
    live = [process("a", 5), process("b", 3), process("c", 5, quiet=True), process("d", 5, late=True)]
    assert value(judged(trigger(), *live)) == pytest.approx(1.6)
    assert value(judged(trigger(metricType="Value"), *live)) == pytest.approx(0.8)
    assert value(judged(trigger(countWaiting="true"), *live, **waits(mail=12))) == pytest.approx(4.0)


def test_first_job_asks_for_one_process() -> None:
    told = judged(trigger(busyRatio="0.6"), **waits(default=100))
    assert told.active
    assert value(told) == 0.6
    counted = trigger(busyRatio="0.5", countWaiting="true", concurrency="10")
    assert value(judged(counted, **waits(default=100))) == 10.0


@pytest.mark.parametrize(
    ("metric_type", "waiting", "age"), [("AverageValue", 12.0, 30.0), ("Value", 4.0, 10.0)], ids=["average", "value"]
)
def test_waiting_jobs_and_latency_per_process(metric_type: str, waiting: float, age: float) -> None:
    parsed = trigger(metricType=metric_type, queueLength="10", queueLatency="5")
    live = [process("a", 5), process("b", 5), process("c", None), process("d", 5, quiet=True)]
    told = judged(parsed, *live, **waits(default=12), since={"default": NOW + 90, "mail": NOW + 95})
    assert (value(told, "waiting"), value(told, "latency")) == (waiting, age)


def test_latency_without_a_process_is_itself() -> None:
    told = judged(trigger(queueLatency="5"), **waits(default=1), since={"default": NOW + 60})
    assert value(told, "latency") == 40.0
    assert told.until == NOW


def test_latency_of_a_paused_queue_does_not_count() -> None:
    paused = {"waiting": {"default": Depth(3, paused=True)}, "since": {"default": NOW}}
    told = judged(trigger(queueLatency="5"), **paused)
    assert value(told, "latency") == 0.0
    assert told.until == math.inf


def test_job_without_a_time_asks_for_what_there_is() -> None:
    parsed = trigger(queueLatency="5")
    told = judged(parsed, process("a", 0), process("b", 0), **waits(default=1), since={"default": None})
    assert value(told, "latency") == 10.0


def test_next_due_job_is_when_it_changes() -> None:
    parsed = trigger()
    found = readings(parsed, due={"mail": (NOW + 150, NOW + 170), "other": (NOW + 140,)})
    told = parsed.assess(found, NOW)
    assert not told.active
    assert told.until == pytest.approx(NOW + 20, abs=0.01)
    later = parsed.assess(found, told.until)
    assert later.active
    assert later.until == pytest.approx(NOW + 40, abs=0.01)


def test_components_say_what_counts_and_what_does_not() -> None:
    live = [
        process("a", 3),
        process("b", 1, quiet=True),
        process("c", 1, late=True),
        process("d", 1, concurrency=None),
        process("e", 1, info=None),
    ]
    parsed = trigger(queueLatency="5")
    found = {"waiting": {"mail": Depth(4, paused=True)}, "due": {None: (1.0,)}, "ghosts": 2, "strangers": 1}
    told = judged(parsed, *live, **found)
    assert {component.name: component.value for component in told.components} == {
        "waiting in default": 0,
        "waiting in mail": 4,
        "busy threads": 3,
        "threads": 5,
        "processes": 1,
        "quiet processes": 1,
        "late processes": 1,
        "unclear processes": 1,
        "doubtful processes": 1,
        "ghost processes": 2,
        "strangers": 1,
        "known queues": 2,
        "due jobs": 1,
        "oldest job": 0,
    }
    notes = {component.name: component.note for component in told.components}
    assert "not counted" in notes["waiting in mail"]
    assert all(notes[name] for name in notes if name.endswith(" processes"))
