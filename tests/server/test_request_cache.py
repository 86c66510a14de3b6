"""Requests by their bytes: found without parsing when they came lately, and never taken for somebody else's."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scaler.core.errors import MetadataError, ScalerError, UnknownMetricError
from scaler.demo.clock import ManualClock
from scaler.pb import externalscaler_pb2 as pb
from scaler.server.request_cache import Meanings, RequestCache

pytestmark = pytest.mark.usefixtures("scripted_source")


@pytest.fixture
def requests(objects: Any) -> RequestCache:
    return RequestCache(objects.registry)


METADATA = {
    "source": "scripted",
    "spots": "a",
    "second": "2",
    "target": "5",
    "activation": "1",
    "refreshSeconds": "9",
    "staleSeconds": "50",
    "settleSeconds": "5",
    "holdSeconds": "60",
}


def spelled(*order: str, name: str = "orders") -> bytes:
    """Return a ScaledObjectRef with its metadata in this order."""
    head = pb.ScaledObjectRef(namespace="shop", name=name).SerializeToString()
    return head + b"".join(pb.ScaledObjectRef(scalerMetadata={key: METADATA[key]}).SerializeToString() for key in order)


def asked(ref: bytes, metric: str) -> bytes:
    whole = pb.GetMetricsRequest(scaledObjectRef=pb.ScaledObjectRef.FromString(ref), metricName=metric)
    return whole.SerializeToString()


def test_every_spelling_of_a_request_finds_the_same_one(objects: Any, requests: RequestCache) -> None:
    keys = (*METADATA,)
    orders = [(*keys[first:], *keys[:first])[::step] for first in range(len(keys)) for step in (1, -1)]
    found = {requests.find(spelled(*order)) for order in orders}
    found |= {requests.find(spelled(*keys) + bytes([15 << 3, number])) for number in range(4)}  # an unknown field
    found.add(objects.registry.look_up("shop", "orders", METADATA))
    assert len(found) == len(objects) == objects.quota.total == 1
    (who,) = found
    assert who.calls == 22
    assert requests.find_metric(asked(spelled(*orders[0]), "Scripted-SECOND")) == (who, 1)
    assert requests.find_metric(asked(spelled(*orders[0]), "Scripted-SECOND")) == (who, 1)
    assert who.calls == 24


def test_a_request_that_came_lately_is_not_parsed_again(
    objects: Any, requests: RequestCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = spelled("source", "spots")
    who, metric = requests.find(raw), requests.find_metric(asked(raw, "scripted"))
    monkeypatch.setattr(objects.registry, "find_ref", None)
    assert requests.find(raw) is who
    assert requests.find_metric(asked(raw, "scripted")) == metric == (who, 0)


async def test_a_request_that_came_lately_counts_as_asking(
    objects: Any, requests: RequestCache, clock: ManualClock
) -> None:
    raw = spelled("source", "spots")
    who = requests.find(raw)
    for _ in range(3):
        await clock.advance(600)
        objects.forget_old()
        assert requests.find(raw) is who


async def test_who_is_forgotten_is_not_found_by_an_old_spelling(
    objects: Any, requests: RequestCache, clock: ManualClock
) -> None:
    raw = spelled("source", "spots")
    who, metric = requests.find(raw), requests.find_metric(asked(raw, "scripted"))
    await clock.advance(901)
    objects.forget_old()
    assert requests.find(raw) is not who
    assert requests.find_metric(asked(raw, "scripted")) != metric
    assert len(objects) == 1, "and counts for the limits again"


@pytest.mark.parametrize("raw", [b"\xff", b"\x0a\x05ab", b"\x0a\x02\xff\xff"], ids=["tag", "length", "not UTF-8"])
def test_bytes_that_are_no_request_are_an_error_that_says_so(objects: Any, requests: RequestCache, raw: bytes) -> None:
    with pytest.raises(MetadataError, match="the request is not a ScaledObjectRef"):
        requests.find(raw)
    with pytest.raises(MetadataError, match="the request is not a GetMetricsRequest"):
        requests.find_metric(b"\x0a" + bytes([len(raw)]) + raw if raw != b"\xff" else raw)
    assert len(objects) == 0


def test_ever_so_many_keys_are_an_error_before_they_are_parsed(objects: Any, requests: RequestCache) -> None:
    longest = {f"{number:026d}": "v" * 26 for number in range(490)}  # whose lengths look like tags
    few, many = (
        pb.ScaledObjectRef(namespace="shop", name="o", scalerMetadata=keys).SerializeToString()
        for keys in (longest, {f"{number:x}": "" for number in range(2_000)})
    )
    with pytest.raises(MetadataError, match="unknown"):
        requests.find(pb.ScaledObjectRef(scalerMetadata=METADATA).SerializeToString() + few)
    for find, raw in ((requests.find, many), (requests.find_metric, asked(many, "x"))):
        with pytest.raises(MetadataError, match="too many keys to be read"):
            find(raw)
    assert len(objects) == 0


def test_an_error_is_not_remembered_as_a_meaning(objects: Any, requests: RequestCache) -> None:
    raw = asked(spelled("source", "spots"), "other")
    for _ in range(2):
        with pytest.raises(UnknownMetricError, match="known: scripted"):
            requests.find_metric(raw)


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=30), st.integers()), max_size=60))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_spelling_means_what_it_meant_or_nothing(kept: list[tuple[bytes, int]]) -> None:
    meanings, last = Meanings[int](max_bytes=2_000), dict[bytes, int]()
    for raw, meaning in kept:
        meanings.keep(raw, meaning)
        last[raw] = meaning
        assert meanings.get(raw) == meaning
        assert all(meanings.get(each) in {None, last[each]} for each in last)
        assert sum(len(each) + 150 for each in last if meanings.get(each) is not None) <= 2_000


@given(st.binary(max_size=200) | st.builds(lambda raw: b"\x0a" + bytes([len(raw)]) + raw, st.binary(max_size=120)))
@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_a_request_or_an_error_that_says_why(objects: Any, requests: RequestCache, raw: bytes) -> None:
    for find in (requests.find, requests.find_metric):
        for _ in range(2):
            with suppress(ScalerError):
                find(raw)
    assert all(who.trigger.source == "scripted" for who in objects)
