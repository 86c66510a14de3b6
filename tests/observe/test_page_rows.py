"""Searching, filtering, sorting and paging of the table."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.answers.scaledobject import Question, ScaledObject
from scaler.answers.state import Answer
from scaler.core.domain import Assessment, Metric
from scaler.demo.scripted import ScriptedTrigger
from scaler.observe.journal.refusals import Refusal
from scaler.observe.page.rows import SORTS, STATES, Query, QueryError, Row, select
from scaler.sources.base import NAMESPACE


def row(
    name: str = "orders",
    *,
    namespace: str = "shop",
    value: float | None = None,
    state: str = "inactive",
    stale: bool = False,
    age: float | None = None,
    asked_at: float = 0.0,
    since: float = math.nan,
    **kwargs: Any,
) -> Row:
    trigger = ScriptedTrigger.model_validate({"source": "scripted", "spots": "a", NAMESPACE: namespace})
    scaled_object = ScaledObject(f"{namespace}/{name}".encode(), namespace, name, Question(trigger), asked_at)
    scaled_object.active_since = since
    if value is not None:
        told = Assessment((Metric("scripted", value),), active=value > 0, reasons=())
        scaled_object.answer = Answer((), told, told, "active" if value > 0 else "inactive")
    return Row(scaled_object, state, stale, age, **kwargs)


def names(rows: list[Row], **query: Any) -> list[str]:
    return [found.scaled_object.name for found in select(rows, Query(**query)).rows]


@pytest.mark.parametrize(
    ("sort", "wanted"),
    [
        pytest.param("name", ["a", "b", "c"], id="name"),
        pytest.param("-name", ["c", "b", "a"], id="name, down"),
        pytest.param("value", ["a", "c", "b"], id="what was never judged comes last"),
        pytest.param("-value", ["c", "a", "b"], id="last in the other direction, too"),
        pytest.param("state", ["b", "c", "a"], id="the worst state first, stale counts as a state"),
        pytest.param("age", ["c", "a", "b"], id="youngest reading first"),
        pytest.param("called", ["b", "c", "a"], id="the latest call first"),
        pytest.param("since", ["c", "a", "b"], id="active for the longest time first, inactive ones last"),
    ],
)
def test_sorts(sort: str, wanted: list[str]) -> None:
    rows = [
        row("b", state="error", asked_at=9),
        row("a", value=2, state="active", age=4, asked_at=1, since=8),
        row("c", value=7, state="active", stale=True, age=3, asked_at=5, since=2),
    ]
    assert names(rows, sort=sort) == wanted


def test_a_text_is_searched_in_namespace_name_source_and_metric() -> None:
    rows = [row("orders"), row("mails", namespace="Media")]
    assert names(rows, text="ord") == ["orders"]
    assert names(rows, text="media/m") == ["mails"]
    assert names(rows, text="scripted") == ["mails", "orders"]
    assert names(rows, text="sqs") == []


def test_stale_is_a_filter_of_its_own_and_counted_beside_the_state() -> None:
    rows = [row("a", state="active", stale=True), row("b", state="active"), row("c", state="error")]
    found = select(rows, Query(state="stale"))
    assert [each.scaled_object.name for each in found.rows] == ["a"]
    assert (found.total, found.matched) == (3, 1)
    assert {state: found.counts[state] for state in STATES if found.counts[state]} == {
        "error": 1,
        "stale": 1,
        "active": 2,
    }


def test_trouble_comes_first_and_then_the_names() -> None:
    quiet = [row("a", state="active"), row("b", state="inactive"), row("c", state="active")]
    trouble = [row("z", state="error"), row("y", state="held"), row("x", state="active", stale=True)]
    late, doubtful = row("w", state="active", overdue=True), row("v", state="inactive", doubtful=True)
    refused = Row(
        Refusal("shop", "u", "sqs", "INVALID_ARGUMENT", "queus: unknown key", 0, 0), "refused", stale=False, age=None
    )
    assert names([*quiet, doubtful, refused, late, *trouble]) == ["z", "u", "y", "x", "w", "v", "a", "b", "c"]
    assert names([*quiet, refused], state="refused") == ["u"]
    assert names([*quiet, late, doubtful], state="overdue") == ["w"]
    assert names([*quiet, late, doubtful], state="doubtful") == ["v"]
    assert names([*quiet, refused], text="shop/u") == ["u"]


def test_one_fault_of_a_backend_is_told_once_with_the_triggers_that_stand_on_it() -> None:
    rows = [row(name, state="held", backend="scripted/one", fault="no route") for name in "abc"]
    alone = row("d", state="error", backend="scripted/two", fault="no disk")
    found = select([*rows, alone, row("e", state="active")], Query())
    assert [(each.backend, each.fault, each.triggers, dict(each.states)) for each in found.troubles] == [
        ("scripted/one", "no route", 3, {"held": 3}),
        ("scripted/two", "no disk", 1, {"error": 1}),
    ]
    assert [found.listed_above(each) for each in found.rows] == [False, True, True, True, False]
    assert names([*rows, alone], backend="scripted/one") == ["d", "a", "b", "c"]  # all stand on it
    assert names([*rows, alone], backend="scripted/other") == []


@given(count=st.integers(0, 40), limit=st.integers(1, 15), page=st.integers(1, 50), sort=st.sampled_from(list(SORTS)))
def test_pages_hold_every_row_once(count: int, limit: int, page: int, sort: str) -> None:
    rows = [row(f"n{index}", asked_at=index % 3) for index in range(count)]
    pages = select(rows, Query(limit=limit, sort=sort)).pages
    seen = [name for at in range(1, pages + 1) for name in names(rows, limit=limit, page=at, sort=sort)]
    assert sorted(seen) == sorted(each.scaled_object.name for each in rows)
    assert select(rows, Query(limit=limit, page=page)).query.page == min(page, pages)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"state": "asleep"}, "state: must be one of error, refused, held, stale"),
        ({"sort": "colour"}, "sort: must be one of name"),
        ({"page": "0"}, "page: must be a whole number from 1"),
        ({"page": "x"}, "page: must be a whole number"),
        ({"page": "٣"}, "page: must be a whole number"),
        ({"limit": "1001"}, "limit: must be a whole number from 1 to 1000"),
        ({"limit": "9" * 5_000}, "limit: must be a whole number from 1 to 1000"),
    ],
)
def test_a_parameter_that_makes_no_sense_is_named(parameters: dict[str, str], message: str) -> None:
    with pytest.raises(QueryError, match=message):
        Query.parse(parameters)


def test_the_url_of_a_query_leads_back_to_it() -> None:
    query = Query(text="a&b=<", state="error", sort="-age", page=3, limit=10)
    address = query.url("/", page=4)
    assert address == "/?q=a%26b%3D%3C&state=error&sort=-age&page=4&limit=10"
    assert Query().url("/") == "/"
