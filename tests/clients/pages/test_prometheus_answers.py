"""What a Prometheus answers: one page for each target, or a fault."""

import asyncio
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler.clients.pages import prometheus
from scaler.clients.pages.exposition import Page
from scaler.clients.pages.prometheus import pages_of
from scaler.core.errors import Unavailable
from tests.clients.pages.vectors import PLACE, row, vector


async def test_series_become_one_page_for_each_target() -> None:
    body = vector(
        row("3", pod="p-1", instance="10.0.0.2:8082", name="a", controller="b"),
        row("4", pod="p-1", instance="10.0.0.2:8082", controller="a"),
        {
            "metric": {"__name__": "active", "job": "argocd", "pod": "p-1", "instance": "10.0.0.2:8082"},
            "value": [1, "2"],
        },
        row("1.5e1", instance="10.0.0.1:8082", name="a"),
    )
    assert await pages_of(PLACE, body) == (
        Page("10.0.0.1:8082", {"workqueue_depth": {"a": 15}}),
        Page("p-1", {"workqueue_depth": {"a": 7}, "active": {"": 2}}),
    )


async def test_others_have_their_turns_while_many_series_are_added_up(monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[int] = []

    async def rest() -> None:
        turns.append(len(turns))

    monkeypatch.setattr(prometheus, "rest", rest)
    (page,) = await pages_of(PLACE, vector(*(row("1", name=f"q-{number}") for number in range(1_000))))
    assert len(page.sums["workqueue_depth"]) == 1_000
    assert len(turns) == 1_000 // prometheus.SERIES_AT_ONCE


@pytest.mark.parametrize("value", ["NaN", "-1", "+Inf"])
async def test_what_is_no_count_makes_the_sum_none(value: str) -> None:
    (page,) = await pages_of(PLACE, vector(row(value, name="a"), row("3", controller="a")))
    assert math.isnan(page.sums["workqueue_depth"]["a"])


@pytest.mark.parametrize("value", ["٣", "1_0", "1e-400", "", True, 3, None], ids=str)
async def test_what_prometheus_does_not_write_is_no_number(value: Any) -> None:
    with pytest.raises(Unavailable, match="a series that is not understood"):
        await pages_of(PLACE, vector(row(value, name="a")))


OLD = {
    "metric": {"instance": "10.0.0.9:8082", "job": "argocd", "queue_scaler_stale": "true"},
    "value": [1, "151.2"],
}
NO_UP = {"metric": {"namespace": "argocd", "queue_scaler_unseen": "true"}, "value": [1, "1"]}
UP = {"metric": {"__name__": "up", "instance": "10.0.0.9:8082", "job": "argocd"}, "value": [1, "0"]}


async def test_a_standby_does_not_count_in_prometheus_either() -> None:
    def leader(pod: str, value: str) -> dict[str, Any]:
        return {"metric": {"__name__": "leader_election_master_status", "pod": pod}, "value": [1, value]}

    def depth(pod: str, value: str) -> dict[str, Any]:
        return {"metric": {"__name__": "workqueue_depth", "pod": pod, "name": "a"}, "value": [1, value]}

    both = [depth("c-0", "7"), depth("c-1", "0")]
    first, second = await pages_of(PLACE, vector(*both, leader("c-0", "1"), leader("c-1", "0")))
    assert first.sums["workqueue_depth"] == {"a": 7}
    assert second.sums == {"leader_election_master_status": {"": 0}}
    with pytest.raises(Unavailable, match="none of 2 pods leads"):
        await pages_of(PLACE, vector(*both, leader("c-0", "0"), leader("c-1", "0")))
    with pytest.raises(Unavailable, match="no series of"):  # a broad selector: others that only tell who leads
        await pages_of(PLACE, vector(leader("other", "1")))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        pytest.param(vector(), "no series of active or workqueue_depth", id="no series"),
        pytest.param(vector(row(name="a"), UP), "cannot scrape 10.0.0.9:8082 of job argocd", id="a target is down"),
        pytest.param(
            vector(row(name="a"), OLD), "sample of 10.0.0.9:8082 of job argocd is 151 s old", id="old samples"
        ),
        pytest.param(vector(row(name="a"), NO_UP), "no `up` has the labels of `selector`", id="no up"),
        pytest.param(vector(NO_UP), "no series of active or workqueue_depth", id="neither"),
        pytest.param(vector(row(name="a"), warnings=["no store"]), "may be partial: 'no store'", id="warnings"),
        pytest.param(vector(row(name="a"), isPartial=True), "may be partial", id="partial"),
        pytest.param(b'{"status":"error","errorType":"timeout","error":"too slow"}', "failed: 'too slow'", id="error"),
        pytest.param(b'{"status":"success"}', "failed", id="no data"),
        pytest.param(
            b'{"status":"success","data":{"resultType":"scalar","result":[1,"0"]}}', "not that of", id="no vector"
        ),
        pytest.param(b"<html></html>", "not that of", id="no JSON"),
        pytest.param(vector(row(name="a"))[:-9], "not that of", id="cut short"),
        pytest.param(b"[" * 50_000, "not that of", id="nested"),
        pytest.param(vector(row("x", name="a")), "not understood", id="no number"),
        pytest.param(vector({"metric": {"__name__": "workqueue_depth"}}), "not understood", id="no value"),
        pytest.param(vector({"metric": {"__name__": "other"}, "value": [1, "0"]}), "not understood", id="another"),
        pytest.param(vector({"metric": {}, "value": [1, "0"]}), "not understood", id="no name"),
        pytest.param(vector({"metric": ["__name__"], "value": [1, "0"]}), "not understood", id="no labels"),
        pytest.param(
            b'{"status":"success","data":{"resultType":"vector","result":[7]}}', "not understood", id="no row"
        ),
    ],
)
async def test_an_answer_that_may_lack_something_is_a_fault(body: bytes, reason: str) -> None:
    with pytest.raises(Unavailable, match=f"^Prometheus main {{.*{reason}"):
        await pages_of(PLACE, body)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["metric", "value", "__name__"]), inner)
    ),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.lists(JSON, max_size=3))
def test_no_answer_does_more_than_be_refused(rows: list[Any]) -> None:
    try:
        found = asyncio.run(pages_of(PLACE, vector(*rows)))
    except Unavailable:
        return
    assert all(
        value >= 0 or math.isnan(value) for page in found for sums in page.sums.values() for value in sums.values()
    )
