import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.sources import triggers
from scaler.sources.redis_places import RedisClock
from scaler.sources.sidekiq import SidekiqTrigger
from scaler.sources.sidekiq.deletion_cost import deletion_cost, deletion_costs, held_pods
from scaler.sources.sidekiq.fleet import Processes
from scaler.sources.sidekiq.info import Info
from scaler.sources.sidekiq.known_queues import Known
from scaler.sources.sidekiq.state import Depth, Due, Process, parse_process, with_jobs
from scaler.sources.sidekiq.workload import Selection

NOW = 1_800_000_000.0
ALL = Selection(queues=frozenset({"default"}))
DUMPS = Path(__file__).parent / "dumps"


def process(host: str = "a", busy: int | None = 0, *ages: float, quiet: bool = False, late: bool = False) -> Process:
    info = Info("", frozenset(), frozenset({"default"}), (), 5)
    began = tuple(sorted(NOW - age for age in ages))
    jobs = (("default", len(ages)),) if ages else ()
    return Process(f"{host}:1:{'0' * 12}", info, busy, 5, quiet=quiet, late=late, jobs=jobs, began=began)


@pytest.mark.parametrize(
    ("pod", "cost"),
    [
        ([process()], 0),
        ([process(quiet=True)], 0),
        ([process("a", 1, 0.0)], 1),
        ([process("a", 1, 1.0)], 1),
        ([process("a", 1, 2.0)], 2),
        ([process("a", 1, 3.9)], 2),
        ([process("a", 1, 4.0)], 3),
        ([process("a", 2, 2.0, 2.0)], 3),
        ([process("a", 1, 3_600.0)], 12),
        ([process("a", 1, 86_400.0)], 17),
        ([process("a", 1, 3_600.0, quiet=True)], 1),
        ([process("a", 1, 3_600.0, late=True)], 12),
        ([process("a", 1, 8.0), process("a")], 4),
        ([process("a", 1, 4.0), process("a", 1, 4.0)], 4),
        ([process("a", 1, 4.0), process("a", 1, 4.0, quiet=True)], 4),
        ([process("a", 1, -5.0)], 1),
        ([process("a", 1)], 1),
        ([process("a", None)], 1),
        ([process("a", 0, 16.0)], 5),
    ],
    ids=[
        "idle",
        "idle and quiet",
        "just begun",
        "1 s",
        "2 s",
        "almost 4 s",
        "4 s",
        "two threads",
        "an hour",
        "a day",
        "quiet",
        "late",
        "idle process beside",
        "two processes",
        "one of two quiet",
        "clock of the process ahead",
        "work not known",
        "busy not understood",
        "job newer than the beat",
    ],
)
def test_cost_of_a_pod(pod: list[Process], cost: int) -> None:
    assert deletion_cost(pod, NOW) == cost


ages = st.lists(st.floats(0, 1e6), min_size=1, max_size=20)


@given(ages, st.floats(0, 1e6))
def test_cost_grows_with_time_by_powers_of_two(work: list[float], later: float) -> None:
    pod = [process("a", len(work), *work)]
    now, then = deletion_cost(pod, NOW), deletion_cost(pod, NOW + later)
    assert 1 <= now <= then <= 1 + math.log2(len(work) * 2e6)
    seconds = sum(NOW - began for began in pod[0].began)
    if seconds >= 1:
        assert 2 ** (now - 1) <= seconds < 2**now


@given(ages, st.booleans())
def test_idle_is_cheapest_then_quiet_then_the_others(work: list[float], late: bool) -> None:  # noqa: FBT001 - drawn
    busy = deletion_cost([process("a", len(work), *work, late=late)], NOW)
    quiet = deletion_cost([process("a", len(work), *work, quiet=True)], NOW)
    assert deletion_cost([process()], NOW) < quiet <= busy


FLEET = Processes(
    (
        process("idle"),
        process("busy", 1, 4.0),
        process("ending", 1, 4.0, quiet=True),
        process("twins", 0),
        process("twins", 1, 2.0),
        process("strange", None),
        Process("other:1:0", Info("", frozenset(), frozenset({"mail"}), (), 5), 3, 5, quiet=False, late=False),
    )
)


def test_pods_of_the_workload_by_name() -> None:
    assert deletion_costs(FLEET, ALL, NOW) == {"busy": 3, "ending": 1, "idle": 0, "strange": 1, "twins": 2}
    assert deletion_costs(FLEET, Selection(hostname_regex="^b"), NOW) == {"busy": 3}
    assert deletion_costs(FLEET, Selection(deployment="none"), NOW) == {}


def test_held_are_the_busy_pods_that_are_not_quiet() -> None:
    assert held_pods(FLEET, ALL) == (3, 4)


def trigger(**metadata: str) -> SidekiqTrigger:
    parsed = triggers.parse({"source": "sidekiq", "redis": "main", "queues": "default", **metadata}, "shop")
    assert isinstance(parsed, SidekiqTrigger)
    return parsed


def readings(parsed: SidekiqTrigger) -> dict[Any, Any]:
    plan = parsed.plan
    return {
        plan.processes: FLEET,
        plan.due: Due({}, math.inf, RedisClock(0.0)),
        plan.known: Known(frozenset({"default"})),
        **{place: Depth(0, paused=False) for place in plan.depths},
    }


@pytest.mark.parametrize(("metric_type", "held"), [("AverageValue", 3.0), ("Value", 0.75)])
def test_hold_asks_for_as_many_replicas_as_there_are_busy_pods(metric_type: str, held: float) -> None:
    parsed = trigger(spareBusy="hold", metricType=metric_type)
    assert parsed.specs()[-1].name == "sidekiq-held-default"
    assert parsed.specs()[-1].target == 1
    told = parsed.assess(readings(parsed), NOW)
    assert told.metrics[-1].value == held
    notes = {component.name: component.note for component in told.components}
    assert notes["held pods"] == "held at 3: 3 pods have a busy thread"
    assert parsed.deletion_costs(readings(parsed), NOW)["busy"] == 3


def test_prefer_has_no_metric_of_its_own() -> None:
    parsed = trigger(spareBusy="prefer")
    assert [spec.name for spec in parsed.specs()] == ["sidekiq-busy-default"]
    assert parsed.plan.processes.jobs
    assert not trigger().plan.processes.jobs


@pytest.mark.parametrize("name", sorted(path.name for path in DUMPS.glob("*running*")))
def test_cost_of_a_real_process(name: str) -> None:
    dump = json.loads((DUMPS / name).read_text())
    now = dump["meta"]["redis_time"]
    now = float(now[0]) if isinstance(now, list) else float(now)
    keys = {key: entry["value"] for key, entry in dump["keys"].items()}
    (identity,) = keys["processes"]
    fields = [value if value is None else str(value).encode() for value in map(keys[identity].get, FIELDS)]
    parsed = parse_process(identity.encode(), fields, 60_000, now)
    assert parsed is not None
    work = keys.get(f"{identity}:work") or keys[f"{identity}:workers"]
    parsed = with_jobs(parsed, [part.encode() for pair in work.items() for part in pair])
    seconds = sum(now - json.loads(job)["run_at"] for job in work.values())
    assert len(parsed.began) == parsed.busy == 3
    assert deletion_cost([parsed], now) == max(1, 1 + math.floor(math.log2(max(1.0, seconds))))


FIELDS = ("info", "busy", "beat", "quiet", "concurrency")
