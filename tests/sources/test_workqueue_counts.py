"""What pages with work queues ask for: what is counted, what keeps it active, and what is a fault."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler.clients.pages.exposition import LEADER, Page, Sums
from scaler.core.errors import Unavailable
from tests.sources.workqueues import assess, trigger, value


def page(name: str = "p-0", **depths: float) -> Page:
    return Page(name, {"workqueue_depth": dict(depths), "workqueue_adds_total": dict.fromkeys(depths, 9.0)})


def with_active(found: Page, **active: float) -> Page:
    return Page(found.name, {**found.sums, "controller_runtime_active_workers": dict(active)})


@pytest.mark.parametrize(
    ("metadata", "pages", "expected"),
    [
        pytest.param({}, [page(a=3)], 3, id="one pod"),
        pytest.param({}, [page("p-0", a=3), page("p-1", a=4)], 7, id="two pods"),
        pytest.param({"queues": "a,b"}, [page(a=3, b=4, c=100)], 7, id="two queues"),
        pytest.param({}, [with_active(page(a=3), a=2, c=100)], 5, id="active workers"),
        pytest.param({"countActive": "false"}, [with_active(page(a=3), a=2)], 3, id="active workers not counted"),
        pytest.param({"aggregate": "max"}, [page("p-0", a=3), page("p-1", a=9), page("p-2", a=0)], 27, id="max"),
        pytest.param(
            {"aggregate": "max", "queues": "a,b"},
            [with_active(page("p-0", a=3, b=3), a=1), page("p-1", a=0, b=6)],
            14,
            id="the busiest over all queues",
        ),
        pytest.param({"metricType": "Value"}, [page("p-0", a=3), page("p-1", a=4)], 7, id="metricType Value"),
        pytest.param({}, [Page("p-0", {"workqueue_adds_total": {"a": 0.0}})], 0, id="no depth yet"),
        pytest.param(
            {},
            [Page("p-0", {"workqueue_adds_total": {"a": 0.0, "b": 5.0}, "workqueue_depth": {"b": 7.0}})],
            0,
            id="no depth of this queue yet",
        ),
        pytest.param(
            {"metricName": "prometheus_operator_workqueue_depth"},
            [Page("p-0", {"prometheus_operator_workqueue_depth": {"a": 3.0}})],
            3,
            id="a prefix",
        ),
        pytest.param(
            {"metricName": "prometheus_operator_workqueue_depth"},
            [Page("p-0", {"prometheus_operator_workqueue_adds_total": {"a": 0.0}})],
            0,
            id="a prefix, no depth yet",
        ),
        pytest.param({}, [page("p-0", a=3), Page("p-1", {LEADER.name: {"": 0.0}})], 3, id="a standby"),
        pytest.param(
            {"aggregate": "max"},
            [page("p-0", a=3), Page("p-1", {LEADER.name: {"": 0.0}})],
            3,
            id="max beside a standby",
        ),
    ],
)
def test_what_is_counted(metadata: dict[str, str], pages: list[Page], expected: float) -> None:
    assert value(trigger(**metadata), *pages) == expected


def test_several_urls_are_added_up() -> None:
    found = trigger(metricsURL="http://a/m,http://b/m")
    one, other = found.places()
    assert found.assess({one: (page("a", a=3),), other: (page("b", a=4),)}, 0).metrics[0].value == 7


@pytest.mark.parametrize(("depth", "active"), [(0, False), (5, False), (6, True)])
def test_activity_is_above_the_threshold(depth: int, active: bool) -> None:  # noqa: FBT001 - a table
    found = assess(trigger(activationQueueLength="5"), page(a=depth))
    assert found.active is active
    assert found.reasons[0].startswith("active: " if active else "inactive: ")
    assert "activationQueueLength 5" in found.reasons[0]
    assert found.until == math.inf


def test_work_in_hand_keeps_it_active() -> None:
    assert assess(trigger(), with_active(page(a=0), a=1)).active


@pytest.mark.parametrize(
    ("metadata", "pages", "reason"),
    [
        pytest.param(
            {}, [page(b=3)], r"queue a is not in workqueue_depth .*know b: .*component-base", id="another queue"
        ),
        pytest.param({"queues": "b,a"}, [page(b=3)], "queue a is not in", id="one of two queues"),
        pytest.param(
            {"queues": "b,a"},
            [Page("p-0", {"workqueue_adds_total": {"a": 5.0, "b": 5.0}, "workqueue_depth": {"b": 7.0}})],
            "p-0: workqueue_adds_total says that a had items, but the workqueue_depth of it is missing",
            id="a depth that was there",
        ),
        pytest.param(
            {},
            [page("p-0", a=3), Page("p-1", {"workqueue_adds_total": {"a": math.nan}})],
            "p-1: .* had items",
            id="no count of adds",
        ),
        pytest.param({}, [page("p-0", a=3), page("p-1", b=3)], "queue a is not in .* of p-1", id="one of two pods"),
        pytest.param(
            {}, [Page("p-0", {LEADER.name: {"": 1.0}})], "queue a is not in .*know none", id="no queue at all"
        ),
        pytest.param({}, [page(**{f"q{n}": 1 for n in range(30)})], "and 20 more", id="many queues"),
        pytest.param({}, [page(a=math.nan)], "p-0: workqueue_depth .* of a is no count", id="NaN"),
        pytest.param({}, [page("p-0", a=1), page("p-1", a=math.nan)], "p-1: .*no count", id="NaN of one pod"),
        pytest.param({}, [with_active(page(a=1), a=math.nan)], "no count", id="NaN of the workers"),
        pytest.param(
            {"metricName": "prometheus_operator_workqueue_depth"},
            [Page("p-0", {"workqueue_depth": {"a": 3.0}})],
            "not in prometheus_operator_workqueue_depth or prometheus_operator_workqueue_adds_total",
            id="the wrong prefix",
        ),
        pytest.param({"prometheus": "main"}, [page(b=3)], "know b: check the names", id="Prometheus without the queue"),
        pytest.param({"prometheus": "main", "queues": "a,b"}, [page(a=3)], "queue b is not in", id="one of two"),
    ],
)
def test_what_the_pages_do_not_tell_is_a_fault(metadata: dict[str, str], pages: list[Page], reason: str) -> None:
    with pytest.raises(Unavailable, match=reason):
        assess(trigger(**metadata), *pages)


def test_a_prometheus_may_know_other_controllers() -> None:
    found = trigger(prometheus="main", aggregate="max", queues="a,b")
    assert value(found, page("p-0", a=3), page("p-1", b=1), page("other", c=100)) == 6


def test_nan_that_is_not_needed_does_not_matter() -> None:
    assert value(trigger(), with_active(page(a=1, b=math.nan), b=math.nan)) == 1


def test_components_say_why() -> None:
    found = assess(
        trigger(queues="a,b", aggregate="max"),
        with_active(page("p-0", a=3, b=1), a=2),
        page("p-1", a=1, b=0),
        Page("p-2", {LEADER.name: {"": 0.0}}),
    )
    assert [(component.name, component.value, component.unit) for component in found.components] == [
        ("queue a", 4, "items"),
        ("queue b", 1, "items"),
        ("active workers", 2, "items"),
        ("pods", 2, "pods"),
        ("busiest pod", 6, "items"),
    ]
    notes = {component.name: component.note for component in found.components}
    assert notes["busiest pod"] == "p-0"
    assert "1 more" in notes["pods"]
    assert found.reasons == (
        "active: 12 items (6 on the busiest of 2 pods, p-0, for each of them) are above activationQueueLength 0",
    )


@pytest.mark.parametrize(
    ("metadata", "found", "note"),
    [
        pytest.param({}, page(a=1), "as with plain client-go", id="not published"),
        pytest.param({"countActive": "false"}, with_active(page(a=1), a=2), "countActive is false", id="not counted"),
        pytest.param({}, with_active(page(a=1), a=2), "", id="counted"),
    ],
)
def test_the_note_on_active_workers(metadata: dict[str, str], found: Page, note: str) -> None:
    notes = {component.name: component.note for component in assess(trigger(**metadata), found).components}
    assert notes["active workers"].endswith(note)
    assert bool(notes["active workers"]) is bool(note)


COUNTS = st.floats(0, 1e9) | st.just(math.nan)
SUMS: st.SearchStrategy[Sums] = st.dictionaries(
    st.sampled_from(["workqueue_depth", "workqueue_adds_total", "controller_runtime_active_workers", LEADER.name]),
    st.dictionaries(st.sampled_from(["a", "b", ""]), COUNTS, min_size=1),
)


@settings(deadline=None)
@given(st.lists(SUMS, min_size=1, max_size=4), st.sampled_from(["sum", "max"]), st.sampled_from(["a", "a,b"]))
def test_it_tells_a_count_or_a_fault_and_never_less_than_waits(pages: list[Sums], aggregate: str, queues: str) -> None:
    found = trigger(aggregate=aggregate, queues=queues)
    try:
        told = assess(found, *(Page(f"p-{n}", sums) for n, sums in enumerate(pages)))
    except Unavailable:
        return
    waiting = [sums.get("workqueue_depth", {}).get(queue, 0.0) for sums in pages for queue in found.queues]
    assert math.isfinite(told.metrics[0].value)
    assert told.metrics[0].value >= math.fsum(waiting) * (1 - 1e-9)
    assert told.active is (told.metrics[0].value > 0)
