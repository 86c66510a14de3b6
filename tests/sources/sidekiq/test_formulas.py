import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.sources.redis_places import RedisClock
from scaler.sources.sidekiq.fleet import Processes
from scaler.sources.sidekiq.formulas import BusyAim, busy_value, due_soon, latency
from scaler.sources.sidekiq.info import Info
from scaler.sources.sidekiq.state import Due, Oldest, Process
from scaler.sources.sidekiq.workload import Selection, Workload, workload_of

AVERAGE = BusyAim(0.75, average=True)
VALUE = BusyAim(0.75, average=False)
COUNTING = BusyAim(0.75, average=True, count_waiting=True)
NONE = Workload()
SOME = Workload(processes=4, busy=15, concurrency=20, threads_reported=5, reporting=1)
MIXED = Workload(processes=2, busy=6, concurrency=12, threads_reported=6, reporting=1)


@pytest.mark.parametrize(
    ("aim", "workload", "waiting", "expected"),
    [
        (AVERAGE, SOME, 0, 3.0),
        (AVERAGE, SOME, 1_000, 3.0),
        (VALUE, SOME, 1_000, 0.75),
        (AVERAGE, MIXED, 0, 1.0),
        (VALUE, MIXED, 0, 0.5),
        (COUNTING, SOME, 25, 8.0),
        (replace(COUNTING, average=False), SOME, 25, 2.0),
        (replace(COUNTING, threads=100), SOME, 25, 8.0),
        (AVERAGE, Workload(processes=1, busy=9, concurrency=5), 0, 1.8),
        (AVERAGE, NONE, 0, 0.0),
        (VALUE, NONE, 0, 0.0),
        (AVERAGE, NONE, 1, 0.75),
        (VALUE, NONE, 1_000, 0.75),
        (COUNTING, NONE, 1_000, 0.75),
        (replace(COUNTING, threads=10), NONE, 1_000, 100.0),
        (replace(COUNTING, threads=10), NONE, 1, 0.75),
        (replace(COUNTING, threads=10), NONE, 0, 0.0),
        (COUNTING, Workload(quiet=3, held=7, threads_reported=5, reporting=1), 50, 10.0),
        (AVERAGE, Workload(quiet=3, held=7, threads_reported=5, reporting=1), 0, 0.0),
        (AVERAGE, Workload(unclear=8), 5, 6.0),
        (VALUE, Workload(unclear=8), 5, 0.75),
        (AVERAGE, Workload(unclear=8, unclear_busy=1, held=1), 0, 6.0),
        (AVERAGE, Workload(unclear=8, doubtful=1), 0, 6.0),
        (AVERAGE, Workload(unclear=8), 0, 0.0),
        (AVERAGE, Workload(doubtful=1), 0, 0.0),
        (AVERAGE, Workload(processes=1, busy=5, concurrency=5, unclear=8), 5, 1.0),
    ],
    ids=[
        "fully busy processes",
        "waiting jobs are not counted",
        "share of threads",
        "mean of unequal processes",
        "share of unequal processes",
        "waiting jobs counted",
        "waiting jobs counted, share",
        "told threads do not beat those seen",
        "more busy than threads",
        "nothing",
        "nothing, share",
        "one job asks for one process",
        "many jobs ask for one process, share",
        "counted, threads unknown",
        "counted, threads told",
        "counted, at least one process",
        "counted, none waiting",
        "counted, threads seen of quiet ones",
        "quiet ones do not ask",
        "unclear ones are kept while jobs wait",
        "unclear ones are kept, share",
        "unclear ones are kept while busy",
        "unclear ones are kept while they may be busy",
        "idle unclear ones do not ask",
        "strangers do not ask",
        "unclear ones are skipped beside clear ones",
    ],
)
def test_busy_value(aim: BusyAim, workload: Workload, waiting: int, expected: float) -> None:
    assert busy_value(aim, workload, waiting) == pytest.approx(expected)


# The HPA divides an AverageValue by the number of pods: what it compares with the target is `share`.

counts = st.none() | st.integers(0, 50)
processes = st.builds(
    Process,
    identity=st.uuids().map(lambda nonce: f"web-1:1:{nonce.hex[:12]}"),
    info=st.none() | st.just(Info("", frozenset(), frozenset({"default"}), (), None)),
    busy=counts,
    concurrency=st.none() | st.integers(1, 50),
    quiet=st.booleans(),
    late=st.booleans(),
)
aims = st.builds(BusyAim, st.floats(0.01, 2.0), st.booleans(), st.booleans(), threads=st.none() | st.integers(1, 50))
fleets = st.lists(processes, max_size=12)
waits = st.integers(0, 10_000)
SELECTION = Selection(queues=frozenset({"default"}))


def value_of(aim: BusyAim, fleet: list[Process], waiting: int) -> float:
    return busy_value(aim, workload_of(Processes(tuple(fleet)), SELECTION), waiting)


def share_of(aim: BusyAim, fleet: list[Process], waiting: int) -> float:
    workload = workload_of(Processes(tuple(fleet)), SELECTION)
    return busy_value(aim, workload, waiting) / (max(1, workload.processes) if aim.average else 1)


@given(aims, fleets, waits)
def test_value_is_a_number_of_zero_or_more_for_any_mix(aim: BusyAim, fleet: list[Process], waiting: int) -> None:
    value = value_of(aim, fleet, waiting)
    assert math.isfinite(value)
    assert value >= 0
    assert value > 0 or not (waiting and not workload_of(Processes(tuple(fleet)), SELECTION).processes)


@given(aims, fleets, waits, st.data())
def test_busy_thread_more_never_lowers_the_value(
    aim: BusyAim, fleet: list[Process], waiting: int, data: st.DataObject
) -> None:
    busy = [index for index, process in enumerate(fleet) if process.busy is not None]
    if not busy:
        return
    index = data.draw(st.sampled_from(busy))
    more = list(fleet)
    more[index] = replace(fleet[index], busy=(fleet[index].busy or 0) + 1)
    assert value_of(aim, more, waiting) >= value_of(aim, fleet, waiting)


@given(aims, fleets, waits, st.data())
def test_idle_thread_more_never_raises_the_value(
    aim: BusyAim, fleet: list[Process], waiting: int, data: st.DataObject
) -> None:
    known = [index for index, process in enumerate(fleet) if process.concurrency is not None]
    if not known:
        return
    index = data.draw(st.sampled_from(known))
    more = list(fleet)
    more[index] = replace(fleet[index], concurrency=(fleet[index].concurrency or 0) + 1)
    assert value_of(aim, more, waiting) <= value_of(aim, fleet, waiting) * (1 + 1e-12)


@given(aims, fleets, waits, st.integers(1, 50))
def test_idle_process_more_never_raises_the_share(
    aim: BusyAim, fleet: list[Process], waiting: int, concurrency: int
) -> None:
    if not workload_of(Processes(tuple(fleet)), SELECTION).processes:
        return
    idle = Process("new:1:a", Info("", frozenset(), frozenset({"default"}), (), None), 0, concurrency, False, False)
    assert share_of(aim, [*fleet, idle], waiting) <= share_of(aim, fleet, waiting) * (1 + 1e-12)


# Latency

AHEAD = RedisClock(100.0)


def waits_since(since: float | None) -> Oldest:
    return Oldest(exists=True, since=since, clock=AHEAD)


EMPTY = Oldest(exists=False, since=None, clock=AHEAD)


@pytest.mark.parametrize(
    ("jobs", "expected"),
    [
        ([], 0.0),
        ([EMPTY], 0.0),
        ([waits_since(1_090.0), EMPTY, waits_since(1_095.0)], 10.0),
        ([waits_since(1_104.0)], 0.0),
        ([waits_since(1_700.0)], 5.0),
        ([waits_since(1_700.0), waits_since(1_090.0)], 10.0),
        ([waits_since(1.8e15)], 5.0),
        ([waits_since(None)], 5.0),
        ([waits_since(None), waits_since(1_099.0)], 5.0),
        ([waits_since(None), waits_since(1_000.0)], 100.0),
    ],
    ids=[
        "no queue",
        "empty",
        "oldest",
        "clock of the client a little ahead",
        "clock of the client ahead",
        "ahead, another older",
        "in microseconds",
        "unknown",
        "unknown, younger",
        "unknown, older",
    ],
)
def test_latency_is_that_of_the_oldest_job_by_the_clock_of_redis(jobs: list[Oldest], expected: float) -> None:
    assert latency(jobs, 1_000.0, target=5.0) == expected


# What falls due


def due(times: dict[str | None, tuple[float, ...]], complete_until: float = math.inf) -> Due:
    return Due(times, complete_until, AHEAD)


@pytest.mark.parametrize(
    ("jobs", "count", "following"),
    [
        (due({}), 0, math.inf),
        (due({"default": (1_130.0,)}), 1, math.inf),
        (due({"default": (1_131.0,)}), 0, 1_001.0),
        (due({"default": (5.0, 1_100.0, 1_140.0), "mail": (1_135.0,)}), 2, 1_005.0),
        (due({"other": (5.0, 1_140.0)}), 0, math.inf),
        (due({None: (5.0,)}), 1, math.inf),
        (due({"other": (5.0,)}, complete_until=5.0), 1, math.inf),
        (due({"other": (5.0,)}, complete_until=1_135.0), 0, 1_005.0),
        (due({"default": (5.0, 6.0)}, complete_until=6.0), 2, math.inf),
    ],
    ids=[
        "none",
        "within the lead",
        "later",
        "of two queues",
        "of another queue",
        "of an unknown queue",
        "beyond a full page that is due",
        "beyond a full page that is not due yet",
        "full page of its own",
    ],
)
def test_due_jobs_and_when_that_changes(jobs: Due, count: int, following: float) -> None:
    found, until = due_soon(jobs, {"default", "mail"}, 30.0, 1_000.0)
    assert found == count
    assert until == pytest.approx(following, abs=0.01)


@given(
    st.lists(st.floats(0, 2e9), min_size=1, max_size=8), st.floats(-1e6, 1e6), st.floats(0, 86_400), st.floats(0, 2e9)
)
def test_at_the_time_told_it_has_changed(times: list[float], ahead: float, lead: float, now: float) -> None:
    """A moment that were told too early would be told again and again."""
    jobs = Due({"default": tuple(sorted(times))}, math.inf, RedisClock(ahead))
    count, until = due_soon(jobs, {"default"}, lead, now)
    if until < math.inf:
        assert until > now
        assert due_soon(jobs, {"default"}, lead, until)[0] > count
