import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler.sources.flux.judge import Findings, Rules, judge
from scaler.sources.flux.work import Artifact, Work

NOW = 1_000_000.0
RULES = Rules(lead=30, retry_hold=600, wake_on_interval=True, phase=0)
FLEET = "GitRepository/apps/fleet"


def artifact(revision: str = "main@sha1:2", updated: float = NOW - 10) -> dict[str, Artifact]:
    return {FLEET: Artifact(FLEET, revision, revision.rpartition("@")[2], updated)}


def counts(work: Work, sources: dict[str, Artifact] | None = None, now: float = NOW) -> dict[str, int]:
    return judge([work], sources or {}, RULES, now).counts


@pytest.mark.parametrize("cause", ["deleted", "requested", "changed", "unfinished"])
def test_what_an_object_says_itself_counts(cause: str) -> None:
    found = judge([Work("a", cause), Work("b"), Work("c", cause)], {}, RULES, NOW)  # type: ignore[arg-type]  # a table of literals
    assert found == Findings({cause: 2}, {cause: ["a", "c"]})


@pytest.mark.parametrize(
    ("work", "sources", "expected"),
    [
        (Work("a", source=FLEET, attempted="main@sha1:1"), artifact(), {"revision": 1}),
        (Work("a", source=FLEET, attempted="main@sha1:2"), artifact(), {}),
        (Work("a", source=FLEET), artifact(), {"revision": 1}),
        (Work("a", source=FLEET, attempted="sha256:2"), artifact("1.0@sha256:2"), {}),
        (Work("a", source=FLEET, attempted="sha256:1"), artifact("1.0@sha256:2"), {"revision": 1}),
        (Work("a", source=FLEET, attempted="main@sha1:1"), {}, {}),
        (Work("a", source=FLEET, attempted="main@sha1:1", failed=NOW - 3600), artifact(), {"revision": 1}),
        (Work("a", source=FLEET, attempted="main@sha1:1", failed=NOW - 5), artifact(), {"retrying": 1}),
        (Work("a", source=FLEET, attempted="main@sha1:1", failed=NOW - 5, stalled=True), artifact(), {}),
        (
            Work("a", source=FLEET, attempted="main@sha1:1", failed=NOW - 3600, stalled=True),
            artifact(),
            {"revision": 1},
        ),
    ],
    ids=[
        "new revision",
        "taken up",
        "never taken up",
        "same digest",
        "other digest",
        "no such source",
        "failed before it was there",
        "waits for a dependency",
        "given up",
        "given up on the revision before",
    ],
)
def test_revision_of_the_source(work: Work, sources: dict[str, Artifact], expected: dict[str, int]) -> None:
    assert counts(work, sources) == expected


@pytest.mark.parametrize(
    ("work", "sources"),
    [
        (Work("a", changed=NOW, failed=NOW + 5), {}),
        (Work("a", changed=NOW - 9999, failed=NOW + 5, source=FLEET, attempted="main@sha1:2"), artifact(updated=NOW)),
        (Work("a", changed=NOW - 9999, failed=NOW + 5, source=FLEET, attempted="main@sha1:1"), artifact(updated=NOW)),
    ],
    ids=["new spec", "new revision", "new revision, waits for a dependency"],
)
def test_retries_age_out(work: Work, sources: dict[str, Artifact]) -> None:
    found = judge([work], sources, RULES, NOW + 10)
    assert (found.counts, found.until) == ({"retrying": 1}, NOW + 600)
    assert counts(work, sources, NOW + 599.9) == {"retrying": 1}
    assert counts(work, sources, NOW + 600) == {}


def test_a_failure_that_told_a_new_time_does_not_start_anew() -> None:
    # kustomize-controller sets Ready to Unknown and back at every attempt
    assert counts(Work("a", changed=NOW - 601, failed=NOW - 1)) == {}


@pytest.mark.parametrize(
    ("age", "expected", "until"),
    [
        (0, {}, NOW + 540),
        (539, {}, NOW + 1),
        (540, {"soon": 1}, NOW + 30),
        (569, {"soon": 1}, NOW + 1),
        (570, {"due": 1}, float("inf")),
        (99_999, {"due": 1}, float("inf")),
    ],
)
def test_interval_of_an_object_that_tells_when_it_was_reconciled(
    age: float, expected: dict[str, int], until: float
) -> None:
    # of 600 s, 570 is the earliest that Flux's jitter of 5 % allows
    found = judge([Work("a", last=NOW - age, interval=600)], {}, RULES, NOW)
    assert (found.counts, found.until) == (expected, until)


@pytest.mark.parametrize(
    ("age", "expected", "until"),
    [
        (570, {"due": 1}, NOW + 60),
        (629, {"due": 1}, NOW + 1),
        (630, {}, NOW + 510),
        (1140, {"soon": 1}, NOW + 30),
        (1170, {"due": 1}, NOW + 60),
    ],
)
def test_interval_of_a_failing_object_wakes_for_a_moment_each_time(
    age: float, expected: dict[str, int], until: float
) -> None:
    work = Work("a", last=NOW - age, interval=600, failed=NOW - 99_999)
    found = judge([work], {}, RULES, NOW)
    assert (found.counts, found.until) == (expected, until)


@pytest.mark.parametrize(
    ("now", "expected", "until"),
    [(0, {"due": 2}, 60), (59.9, {"due": 2}, 60), (60, {}, 270), (270, {"soon": 2}, 300), (300, {"due": 2}, 360)],
)
def test_timer_of_objects_that_tell_no_time(now: float, expected: dict[str, int], until: float) -> None:
    works = [Work("a", interval=300), Work("b", interval=3600), Work("c", interval=300)]
    found = judge(works, {}, RULES, 900_000 + now)
    assert (found.counts, found.until) == (expected, 900_000 + until)


def test_timers_of_shards_are_apart() -> None:
    shifted = Rules(lead=30, retry_hold=600, wake_on_interval=True, phase=100)
    assert judge([Work("a", interval=300)], {}, shifted, 900_000).counts == {}
    assert judge([Work("a", interval=300)], {}, shifted, 900_100).counts == {"due": 1}


@pytest.mark.parametrize("interval", [0.5, 1, 45, 60, 89.5, 90])
def test_what_polls_this_often_never_sleeps(interval: float) -> None:
    for second in range(200):
        assert counts(Work("a", interval=interval), now=NOW + second)


def test_only_changes_wake_it_without_intervals() -> None:
    rules = Rules(lead=30, retry_hold=600, wake_on_interval=False, phase=0)
    works = [Work("a", interval=60), Work("b", interval=60, last=0), Work("c", "changed")]
    assert judge(works, {}, rules, NOW) == Findings({"changed": 1}, {"changed": ["c"]})


def test_stalled_objects_have_no_interval() -> None:
    assert judge([Work("a", interval=60, stalled=True, failed=1.0)], {}, RULES, NOW) == Findings()


WORKS = st.lists(
    st.builds(
        Work,
        name=st.just("a"),
        cause=st.sampled_from(["", "", "", "changed"]),
        source=st.sampled_from(["", FLEET]),
        attempted=st.sampled_from(["main@sha1:1", "main@sha1:2"]),
        changed=st.floats(NOW - 1000, NOW),
        failed=st.none() | st.floats(NOW - 1000, NOW),
        stalled=st.booleans(),
        last=st.none() | st.floats(NOW - 2000, NOW),
        interval=st.sampled_from([0, 60, 300, 95.5, 600]),
    ),
    max_size=6,
)
LEADS = st.floats(0, 400)


@settings(deadline=None)
@given(works=WORKS, lead=LEADS, start=st.floats(0, 1000), ahead=st.floats(0, 1))
def test_nothing_changes_before_until(works: list[Work], lead: float, start: float, ahead: float) -> None:
    rules = Rules(lead=lead, retry_hold=600, wake_on_interval=True, phase=17)
    now = NOW + start
    found = judge(works, artifact(), rules, now)
    assert found.until > now
    later = now + ahead * (min(found.until, now + 5000) - now)
    if later < found.until:
        assert judge(works, artifact(), rules, later) == found


@settings(deadline=None)
@given(works=WORKS, lead=LEADS)
def test_an_object_that_polls_is_never_left_alone_for_longer_than_its_interval(works: list[Work], lead: float) -> None:
    rules = Rules(lead=lead, retry_hold=600, wake_on_interval=True, phase=17)
    polling = [work for work in works if work.interval and not work.stalled]
    if polling:
        longest = max(work.interval for work in polling)
        seconds = [bool(judge(works, artifact(), rules, NOW + second).counts) for second in range(int(longest) + 1)]
        assert any(seconds)


def test_13_000_objects_are_judged_at_once() -> None:
    sources = {f"HelmChart/apps/r{n}": Artifact(f"HelmChart/apps/r{n}", "1.0", "1.0", NOW) for n in range(13_000)}
    works = [Work(f"apps/r{n}", source=f"HelmChart/apps/r{n}", attempted="1.0", interval=600) for n in range(13_000)]
    best = min(_timed(works, sources) for _ in range(5))
    assert best < 0.02 * _slowness()


def _timed(works: list[Work], sources: dict[str, Artifact]) -> float:
    start = time.process_time()
    judge(works, sources, RULES, NOW)
    return time.process_time() - start


def _slowness() -> float:
    """Return how much slower this machine is now than one that adds 3 million numbers in 0.1 s, and at least 1."""
    start = time.process_time()
    sum(number for number in range(3_000_000))
    return max(1.0, (time.process_time() - start) / 0.1)
