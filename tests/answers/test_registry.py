"""Requests by their bytes: found without parsing when they came lately, and never taken for somebody else's."""

import gc
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scaler.answers.registry import Spellings
from scaler.core.errors import MetadataError, ScalerError, UnknownMetricError
from scaler.demo.clock import ManualClock
from scaler.pb import externalscaler_pb2 as pb

pytestmark = pytest.mark.usefixtures("scripted_source")

METADATA = {"source": "scripted", "spots": "a", "second": "2"}


def spelled(*order: str, name: str = "orders") -> bytes:
    """Return a ScaledObjectRef with its metadata in this order."""
    head = pb.ScaledObjectRef(namespace="shop", name=name).SerializeToString()
    return head + b"".join(pb.ScaledObjectRef(scalerMetadata={key: METADATA[key]}).SerializeToString() for key in order)


def asked(ref: bytes, metric: str) -> bytes:
    whole = pb.GetMetricsRequest(scaledObjectRef=pb.ScaledObjectRef.FromString(ref), metricName=metric)
    return whole.SerializeToString()


def test_every_spelling_of_a_request_finds_the_same_one(objects: Any) -> None:
    orders = [("source", "spots", "second"), ("second", "source", "spots"), ("spots", "second", "source")]
    found = {objects.find_raw(spelled(*order)) for order in orders * 2}
    assert len(found) == len(objects) == 1
    (who,) = found
    assert who.calls == 6
    assert objects.find_metric(asked(spelled(*orders[0]), "Scripted-SECOND")) == (who, 1)
    assert objects.find_metric(asked(spelled(*orders[0]), "Scripted-SECOND")) == (who, 1)
    assert who.calls == 8


def test_a_request_that_came_lately_is_not_parsed_again(objects: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = spelled("source", "spots")
    who, metric = objects.find_raw(raw), objects.find_metric(asked(raw, "scripted"))
    monkeypatch.setattr(objects, "find_ref", None)
    assert objects.find_raw(raw) is who
    assert objects.find_metric(asked(raw, "scripted")) == metric == (who, 0)


async def test_a_request_that_came_lately_counts_as_asking(objects: Any, clock: ManualClock) -> None:
    raw = spelled("source", "spots")
    who = objects.find_raw(raw)
    for _ in range(3):
        await clock.advance(600)
        objects.forget_old()
        assert objects.find_raw(raw) is who


async def test_who_is_forgotten_is_not_found_by_an_old_spelling(objects: Any, clock: ManualClock) -> None:
    raw = spelled("source", "spots")
    who, metric = objects.find_raw(raw), objects.find_metric(asked(raw, "scripted"))
    await clock.advance(901)
    objects.forget_old()
    assert objects.find_raw(raw) is not who
    assert objects.find_metric(asked(raw, "scripted")) != metric
    assert len(objects) == 1, "and counts for the limits again"


@pytest.mark.parametrize("raw", [b"\xff", b"\x0a\x05ab", b"\x0a\x02\xff\xff"], ids=["tag", "length", "not UTF-8"])
def test_bytes_that_are_no_request_are_an_error_that_says_so(objects: Any, raw: bytes) -> None:
    with pytest.raises(MetadataError, match="the request is not a ScaledObjectRef"):
        objects.find_raw(raw)
    with pytest.raises(MetadataError, match="the request is not a GetMetricsRequest"):
        objects.find_metric(b"\x0a" + bytes([len(raw)]) + raw if raw != b"\xff" else raw)
    assert len(objects) == 0


def test_an_error_is_not_remembered_as_a_meaning(objects: Any) -> None:
    raw = asked(spelled("source", "spots"), "other")
    for _ in range(2):
        with pytest.raises(UnknownMetricError, match="known: scripted"):
            objects.find_metric(raw)


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=30), st.integers()), max_size=60))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_spelling_means_what_it_meant_or_nothing(kept: list[tuple[bytes, int]]) -> None:
    spellings, last = Spellings[int](max_bytes=2_000), dict[bytes, int]()
    for raw, meaning in kept:
        spellings.keep(raw, meaning)
        last[raw] = meaning
        assert spellings.get(raw) == meaning
        assert all(spellings.get(each) in {None, last[each]} for each in last)
        assert sum(len(each) + 150 for each in spellings._meanings) <= 2_000


def test_who_asks_the_same_shares_what_follows_from_it(objects: Any) -> None:
    metadata = {"source": "scripted", "spots": "a"}
    one, two = (objects.find("shop", name, metadata) for name in ("one", "two"))
    other = objects.find("blog", "one", metadata)
    assert one is not two
    assert one.question is two.question
    assert other.question is not one.question, "what a namespace may read is its own"


async def test_what_was_shared_goes_with_the_last_who_asked(objects: Any, clock: ManualClock) -> None:
    objects.who()
    await clock.advance(901)
    objects.forget_old()
    gc.collect()
    assert len(objects._questions) == 0


@given(st.binary(max_size=200) | st.builds(lambda raw: b"\x0a" + bytes([len(raw)]) + raw, st.binary(max_size=120)))
@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_a_request_or_an_error_that_says_why(objects: Any, raw: bytes) -> None:
    for find in (objects.find_raw, objects.find_metric):
        for _ in range(2):
            with suppress(ScalerError):
                find(raw)
    assert all(who.trigger.source == "scripted" for who in objects)
