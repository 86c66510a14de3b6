import json
import math
from typing import Any

import pytest

from scaler.sources.redis_places import parse_time
from scaler.sources.sidekiq.info import MAX_COUNT, MAX_VALUES, Capsule, Info, parse_info
from scaler.sources.sidekiq.state import (
    LATE_SECONDS,
    Due,
    Oldest,
    Process,
    parse_due,
    parse_members,
    parse_oldest,
    parse_process,
    with_jobs,
)
from tests.sources.sidekiq.conftest import HERE, IDENTITY, INFO, NOW


def told(**changes: Any) -> bytes:
    """Return `info` with changes; None leaves a key out."""
    return json.dumps({key: value for key, value in {**INFO, **changes}.items() if value is not None}).encode()


def beat(
    info: bytes | None = None,
    busy: bytes | None = b"3",
    at: bytes | None = b"1795345098.1",
    quiet: bytes | None = b"false",
    concurrency: bytes | None = None,
) -> list[bytes | None]:
    """Return the answer to HMGET."""
    return [told() if info is None else info, busy, at, quiet, concurrency]


def process(fields: Any, pttl: int = 59_000, jobs: Any = None) -> Process | None:
    found = parse_process(IDENTITY, fields, pttl, NOW)
    return found if found is None or jobs is None else with_jobs(found, jobs)


def known(fields: Any, pttl: int = 59_000, jobs: Any = None) -> Process:
    found = process(fields, pttl, jobs)
    assert found is not None
    return found


# A process


def test_process_tells_what_it_is() -> None:
    found = known(beat())
    assert (found.identity, found.hostname) == ("web-1:7:0123456789ab", "web-1")
    assert found.info == Info("shop", frozenset("a"), frozenset({"critical", "default"}), (), 5)
    assert (found.busy, found.concurrency, found.quiet, found.late, found.jobs) == (3, 5, False, False, None)


CAPSULES = {
    "default": {"concurrency": 4, "mode": "strict", "weights": {"default": 0}},
    "slow": {"concurrency": 2, "mode": "weighted", "weights": {"reports": 1, "mail": 3}},
}


@pytest.mark.parametrize(
    ("info", "field", "expected"),
    [
        (told(), None, 5),
        (told(), b"7", 7),
        (told(concurrency=None, capsules=CAPSULES), b"6", 6),
        (told(concurrency=None, capsules=CAPSULES), None, 6),
        (told(concurrency=10, capsules=CAPSULES), None, 10),
        (told(concurrency=None), None, None),
        (told(concurrency=0), None, None),
        (told(concurrency="5"), None, None),
        (told(concurrency=True), None, None),
        (told(concurrency=None, capsules={"default": {"weights": {"default": 0}}}), b"3", 3),
        (told(), b"five", 5),
        (told(), b"-5", 5),
        (told(), b"99999999", 5),
        (b"garbage", b"4", 4),
        (b"garbage", None, None),
    ],
    ids=[
        "6 and 7: in info",
        "8.1.2: field beats info",
        "8.1.2: field",
        "8.1.2 without the field: capsules",
        "8.0.9: info beats capsules",
        "nowhere",
        "zero is no capacity",
        "text",
        "bool",
        "capsule without it",
        "field is text",
        "field is negative",
        "field is too great",
        "info is garbage, field is not",
        "all garbage",
    ],
)
def test_threads_are_found_where_the_version_keeps_them(info: bytes, field: bytes | None, expected: int | None) -> None:
    assert known(beat(info, concurrency=field)).concurrency == expected


def test_queues_are_those_of_the_capsules_before_those_of_the_process() -> None:
    info = parse_info(told(capsules=CAPSULES, queues=["old"]))
    assert info is not None
    assert info.queues == {"default", "reports", "mail"}
    assert info.capsules == (
        Capsule("default", 4, frozenset({"default"})),
        Capsule("slow", 2, frozenset({"reports", "mail"})),
    )


@pytest.mark.parametrize(
    "info",
    [
        b"",
        b"garbage",
        b"\xff\xfe",
        b"null",
        b"[]",
        b"7",
        told(queues=None),
        told(queues="default"),
        told(queues=[1]),
        told(queues=[]),
        told(tag=7),
        told(labels="a"),
        told()[:-1],
        told(capsules=[]),
        told(capsules={"a": {"concurrency": 1}}),
        told(capsules={"a": None}),
        b"[" * 100_000,
        b'{"concurrency":' + b"9" * 5_000 + b"}",
        told(tag="x" * 20_000)[:-1],
    ],
    ids=range(19),
)
def test_info_that_cannot_be_understood_leaves_the_process_known(info: bytes) -> None:
    found = known(beat(info))
    assert found.info is None
    assert (found.busy, found.hostname) == (3, "web-1")


def test_long_info_is_understood_too() -> None:
    assert parse_info(told(queues=["a"] * (MAX_VALUES + 1))) is None  # it would hold up the event loop
    info = parse_info(told(queues=[f"queue-{number}" for number in range(5_000)]))
    assert info is not None
    assert len(info.queues) == 5_000


@pytest.mark.parametrize("busy", [None, b"", b"many", b"-1", b"1.5", b"\xc2\xb2", str(MAX_COUNT + 1).encode()])
def test_busy_that_cannot_be_understood_is_not_zero(busy: bytes | None) -> None:
    assert known(beat(busy=busy)).busy is None


@pytest.mark.parametrize(
    ("quiet", "expected"), [(b"true", True), (b"false", False), (b"nonsense", False), (None, False)]
)
def test_quiet(quiet: bytes | None, expected: bool) -> None:  # noqa: FBT001 - a column
    assert known(beat(quiet=quiet)).quiet is expected


@pytest.mark.parametrize(
    ("pttl", "at", "late"),
    [
        (60_000, None, False),
        (30_000, None, False),
        (29_999, None, True),
        (0, None, True),
        (90_000, None, False),
        (10_000, str(NOW).encode(), True),
        (-1, str(NOW - LATE_SECONDS).encode(), False),
        (-1, str(NOW - LATE_SECONDS - 1).encode(), True),
        (-1, str(NOW + 100).encode(), False),
    ],
    ids=[
        "just beaten",
        "30 s",
        "more than 30 s",
        "about to expire",
        "longer than ever set",
        "the time to live beats the clock of the worker",
        "restored dump, 30 s",
        "restored dump, 31 s",
        "restored dump, worker's clock ahead",
    ],
)
def test_process_is_late_30_s_after_its_last_beat(pttl: int, at: bytes | None, late: bool) -> None:  # noqa: FBT001 - a column
    assert known(beat(at=at), pttl).late is late


@pytest.mark.parametrize(
    ("fields", "pttl"),
    [
        ([None] * 5, -2),
        (beat(), -2),
        (beat(at=str(NOW - 61).encode()), -1),
        (beat(at=None), -1),
        (beat(at=b"nan"), -1),
        (beat(at=b"yesterday"), -1),
    ],
    ids=["no key", "expired meanwhile", "old dump", "dump without beat", "dump: nan", "dump: garbage"],
)
def test_member_without_a_live_heartbeat_is_a_ghost(fields: Any, pttl: int) -> None:
    assert process(fields, pttl) is None


@pytest.mark.parametrize("pttl", [50_000, -1, -2])
def test_a_heartbeat_without_its_info_is_no_ghost(pttl: int) -> None:
    """Its busy threads would be forgotten; Sidekiq writes all of a heartbeat at once."""
    with pytest.raises(ValueError, match="without its info"):
        process([None, b"3", str(NOW).encode(), b"false", b"5"], pttl)


def test_jobs_are_counted_by_queue_and_strange_ones_left_out() -> None:
    running = [b'{"queue":"mail","payload":"{}","run_at":1}', b'{"queue":"default"}', b'{"queue":"mail"}']
    strange = [b"garbage", b"[]", b'{"queue":7}', b"{}"]
    answer = [part for job in running + strange for part in (b"tid", job)]
    assert known(beat(), jobs=answer).jobs == (("default", 1), ("mail", 2))
    assert known(beat(), jobs=[]).jobs == ()


# Other answers


def test_time_has_microseconds() -> None:
    assert parse_time([b"1795345098", b"531931"]) == 1_795_345_098.531931


def test_members_are_in_order() -> None:
    assert parse_members([b"b", b"a"]) == (b"a", b"b")
    assert parse_members([]) == ()


@pytest.mark.parametrize(
    ("job", "since"),
    [
        (b'{"enqueued_at":1795345071.6586316,"created_at":1.0}', 1795345071.6586316),
        (b'{"enqueued_at":1795345071658}', 1795345071.658),
        (b'{"enqueued_at":1795345071}', 1795345071.0),
        (b'{"enqueued_at":"1795345071.5"}', 1795345071.5),
        (b'{"enqueued_at":null,"created_at":1795345071658}', 1795345071.658),
        (b'{"enqueued_at":"soon","created_at":1795345071.0}', 1795345071.0),
        (b'{"enqueued_at":0}', None),
        (b'{"enqueued_at":-5}', None),
        (b'{"enqueued_at":NaN}', None),
        (b'{"enqueued_at":1e999}', None),
        (b'{"enqueued_at":[]}', None),
        (b"{}", None),
        (b"garbage", None),
        (b"[1]", None),
    ],
    ids=[
        "to 7: seconds",
        "8: milliseconds",
        "foreign client: whole seconds",
        "Oj: text",
        "created_at",
        "garbage, created_at",
        "zero",
        "negative",
        "nan",
        "infinite",
        "list",
        "none",
        "no json",
        "no object",
    ],
)
def test_oldest_job_tells_since_when_it_waits(job: bytes, since: float | None) -> None:
    assert parse_oldest(job, HERE) == Oldest(exists=True, since=since, clock=HERE)


def test_empty_queue_has_no_oldest_job() -> None:
    assert parse_oldest(None, HERE) == Oldest(exists=False, since=None, clock=HERE)


def test_due_jobs_are_sorted_by_queue() -> None:
    schedule = [b'{"queue":"default"}', b"20.5", b'{"queue":"mail"}', b"30"]
    retry = [b'{"queue":"default"}', b"10", b"garbage", b"11", b'{"queue":null}', b"12"]
    due = parse_due([(schedule, 500), (retry, 500)], HERE)
    assert due == Due({"default": (10.0, 20.5), "mail": (30.0,), None: (11.0, 12.0)}, math.inf, HERE)


def test_full_page_tells_where_it_ends() -> None:
    page = [b'{"queue":"default"}', b"1", b'{"queue":"default"}', b"2"]
    assert parse_due([(page, 2), ([], 2)], HERE).complete_until == 2
    assert parse_due([(page, 2), ([b"{}", b"1", b"{}", b"1"], 2)], HERE).complete_until == 1
    assert parse_due([(page, 3), ([], 2)], HERE).complete_until == math.inf
