"""What every source promises, for every source in the registry, on the examples of its metadata in `examples/`."""

import math
import re

import pytest
from pydantic import ValidationError

from scaler.answers.streams import Streams
from scaler.clients.aws.settings import AwsSettings, RoleGrant
from scaler.core.domain import Assessment, Place, Reader
from scaler.core.quota import Quota
from scaler.core.version import page
from scaler.demo.clock import ManualClock
from scaler.demo.desk import Desk
from scaler.pb import externalscaler_pb2 as pb
from scaler.server.app import open_readers
from scaler.server.request_cache import RequestCache
from scaler.server.service import Service, metrics_messages
from scaler.settings import RateSettings
from scaler.sources import SOURCES
from scaler.sources.access import Access
from scaler.sources.backends import Backends
from scaler.sources.base import Claim
from scaler.sources.names import MAX_LENGTH
from scaler.sources.triggers import keys_of, parse
from scaler.store.snapshots import Snapshots
from tests.contract.conftest import EXAMPLES, HERE, NOW, SECRET, Example, each_example, each_source
from tools.markdown import anchors

pytestmark = pytest.mark.usefixtures("offline")
AMOUNTS = (0, 1, 3, 12, 10**6)


# Specs


@each_example
def test_names_and_targets_are_what_the_hpa_takes(example: Example) -> None:
    specs = example.trigger.specs()
    assert specs
    for spec in specs:
        assert re.fullmatch("[a-z0-9]([a-z0-9-]*[a-z0-9])?", spec.name)
        assert len(spec.name) <= MAX_LENGTH
        assert 0.001 <= spec.target <= 1e12
    assert len({spec.name for spec in specs}) == len(specs)


@each_example
def test_names_follow_from_the_metadata_alone(example: Example) -> None:
    turned = dict(reversed(example.metadata.items()))
    assert parse(turned, "shop").specs() == example.trigger.specs() == parse(turned, "blog").specs()


@each_example
async def test_specs_touch_no_backend(example: Example) -> None:
    clock = ManualClock()
    store = Snapshots(open_readers(Backends(clock=clock)), clock)
    access = Access(aws=AwsSettings(roles=(RoleGrant(arn="*", namespaces=("*",)),), allowed_endpoints=("*",)))
    desk = Desk(store, access, clock, limit=9)
    streams = Streams(clock, Quota(9, "limits.maxStreams"), 600)
    service = Service(RequestCache(desk.registry), desk.answers, desk.listeners, streams, 2)
    ref = pb.ScaledObjectRef(name="orders", namespace="shop", scalerMetadata=example.metadata)
    message = await service.get_metric_spec(ref.SerializeToString())
    assert [spec.metricName for spec in message.metricSpecs] == [spec.name for spec in example.trigger.specs()]
    assert len(store) == 0
    await store.close()


# Places


def all_places(example: Example) -> tuple[Place, ...]:
    return (*example.trigger.places(), *example.trigger.further_places(example.readings(3)))


@each_example
def test_places_are_values(example: Example) -> None:
    places, again = all_places(example), all_places(example)
    assert places
    assert len(set(places)) == len(places)
    assert places == again
    assert set(places) == set(again)
    for place in places:
        with pytest.raises((AttributeError, TypeError)):
            place.changed = 1  # type: ignore[attr-defined]  # which is the point


@each_example
def test_every_place_has_its_reader_and_its_limit(example: Example) -> None:
    readers = open_readers(Backends(clock=ManualClock()))
    kinds = {kind for reader in readers for kind in reader.kinds}
    own = {kind for make in SOURCES[example.source].readers for kind in make.kinds}
    for place in all_places(example):
        assert place.kind in kinds & own
        assert place.backend.partition("/")[0] in RateSettings.model_fields
        assert place.min_refresh_seconds >= 0


@each_example
def test_nothing_that_is_shown_holds_a_secret(example: Example) -> None:
    trigger, readings = example.trigger, example.readings(3)
    told = trigger.assess(readings, NOW)
    shown = (trigger, *trigger.specs(), *trigger.claims(), *all_places(example), told)
    for thing in shown:
        assert SECRET not in repr(thing)
        assert SECRET not in str(thing)
    for place in all_places(example):
        assert SECRET not in place.backend
        assert str(place)
        assert str(place) != repr(place), "written for people"


@each_source
def test_some_example_has_a_secret_where_there_is_a_key_for_one(source: str) -> None:
    extras = [field.json_schema_extra for field in keys_of(SOURCES[source].trigger).values()]
    needed = any(isinstance(extra, dict) and extra.get("secret") for extra in extras)
    examples = [example for example in EXAMPLES if example.source == source]
    assert needed == any(SECRET in str(example.metadata) for example in examples)


@each_example
def test_claims_name_what_is_read(example: Example) -> None:
    claims = example.trigger.claims()
    assert claims
    assert all(isinstance(claim, Claim) and claim.value for claim in claims)
    assert claims == example.trigger.claims()


@each_example
def test_triggers_are_values(example: Example) -> None:
    trigger = example.trigger
    assert trigger == example.trigger
    assert hash(trigger) == hash(example.trigger)
    assert trigger != parse({**example.metadata, "staleSeconds": "77"}, "shop")
    with pytest.raises(ValidationError, match="frozen"):
        trigger.stale_seconds = 1


# Judging


@each_example
@pytest.mark.parametrize("amount", AMOUNTS)
def test_judging_is_pure_and_gives_one_value_for_each_spec(example: Example, amount: int) -> None:
    trigger, readings = example.trigger, example.readings(amount)
    before = repr(readings)
    told = trigger.assess(readings, NOW)
    assert isinstance(told, Assessment)
    assert repr(readings) == before
    assert trigger.assess(readings, NOW) == told
    assert example.trigger.assess(example.readings(amount), NOW) == told
    assert [metric.name for metric in told.metrics] == [spec.name for spec in trigger.specs()]
    assert all(metric.value >= 0 and math.isfinite(metric.value) for metric in told.metrics)
    assert len(metrics_messages(told)) == len(told.metrics)
    assert told.reasons
    assert all(told.reasons)
    assert told.until >= NOW
    if told.until > NOW:
        assert trigger.assess(readings, min(told.until - 0.001, NOW + 1e6)).metrics == told.metrics


@each_example
@pytest.mark.parametrize("amount", AMOUNTS)
def test_a_value_with_inactive_happens_only_below_a_threshold_that_was_set(example: Example, amount: int) -> None:
    told = example.trigger.assess(example.readings(amount), NOW)
    if not told.active:
        assert "activation" in str(example.metadata) or all(metric.value == 0 for metric in told.metrics)


@each_example
def test_much_to_do_is_active(example: Example) -> None:
    assert example.trigger.assess(example.readings(10**6), NOW).active


@each_source
def test_something_makes_it_inactive(source: str) -> None:
    examples = [example for example in EXAMPLES if example.source == source]
    assert any(not example.trigger.assess(example.readings(0), NOW).active for example in examples)


@each_example
def test_a_missing_reading_is_no_value(example: Example) -> None:
    readings = dict(example.readings(3))
    for place in readings:
        if place in example.trigger.places():
            with pytest.raises(Exception):  # noqa: B017, PT011 - whatever it is, it is no assessment
                example.trigger.assess({key: value for key, value in readings.items() if key != place}, NOW)


# Readers


@each_source
async def test_readers_open_nothing_before_they_are_asked(source: str) -> None:
    for make in SOURCES[source].readers:
        reader = Backends(clock=ManualClock()).hand(make)
        assert isinstance(reader, Reader)
        assert reader.kinds
        assert 0 < reader.timeout_seconds <= 30
        reader.listen(lambda _: None)
        for example in EXAMPLES:
            if example.source == source:
                for place in example.trigger.places():
                    reader.forget(place)
        await reader.close()


@each_source
def test_the_page_with_the_access_rules_that_a_fault_names_is_there(source: str) -> None:
    for make in SOURCES[source].readers:
        if rights := getattr(make, "rights", ""):
            name, _, anchor = rights.removeprefix(page("")).partition("#")
            text = (HERE.parents[1] / "docs" / name).read_text()
            assert not anchor or anchor in anchors(text)
