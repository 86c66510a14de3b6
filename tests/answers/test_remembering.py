"""Who asks: remembered while they ask, within bounds."""

from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from scaler.core.errors import LimitError, MetadataError, NotAllowedError, ScalerError
from scaler.demo.asked_store import AskedStore as Snapshots
from scaler.demo.clock import ManualClock
from scaler.demo.scripted import ScriptedReader, Spot, Work
from scaler.sources.access import Access, AccessRule

pytestmark = pytest.mark.usefixtures("scripted_source")
Make = Callable[..., Any]


def test_the_same_metadata_is_parsed_once(objects: Any, clock: ManualClock) -> None:
    first = objects.who()
    assert objects.who() is first
    assert first.calls == 2
    others = [objects.who(spots="b"), objects.who(namespace="blog"), objects.who(refreshSeconds="9")]
    assert len({first, *others}) == len(objects) == 4
    assert list(objects) == [first, *others]


@pytest.mark.parametrize(
    ("metadata", "error"),
    [
        pytest.param({"target": "none"}, MetadataError, id="wrong metadata"),
        pytest.param({"spots": "secret"}, NotAllowedError, id="not allowed"),
        pytest.param({"spots": "a", "prefix": "x" * 70_000}, LimitError, id="too large"),
    ],
)
def test_who_is_refused_is_not_remembered(
    make_objects: Make, clock: ManualClock, metadata: dict[str, str], error: type[ScalerError]
) -> None:
    objects = make_objects(Access([AccessRule(namespaces=("shop",), urls=("scripted://a",))]))
    with pytest.raises(error):
        objects.who(**metadata)
    assert len(objects) == objects.quota.total == 0


@pytest.mark.parametrize(
    ("namespace", "name", "value"), [("n" * 90, "o", "v"), ("n", "o" * 90, "v"), ("n", "o", "é" * 45)]
)
def test_all_that_is_remembered_counts_for_the_size(make_objects: Make, namespace: str, name: str, value: str) -> None:
    objects = make_objects(max_metadata_bytes=100)
    with pytest.raises(
        LimitError,
        match=r"^name and metadata have 1\d\d bytes; at most 100 are read \(setting limits\.maxMetadataBytes\)",
    ):
        objects.find(namespace, name, {"source": "scripted", "k": value})
    with pytest.raises(MetadataError, match="k: "):
        objects.find("n" * 83, "o", {"source": "scripted", "k": "v"})


def test_all_metadata_together_is_limited(make_objects: Make) -> None:
    objects = make_objects(max_metadata_total_bytes=20)
    with pytest.raises(LimitError, match=r"limits\.maxMetadataTotalBytes"):
        objects.who()
    assert len(objects) == objects.quota.total == 0


async def test_who_has_not_asked_for_long_makes_room(make_objects: Make, clock: ManualClock) -> None:
    objects = make_objects(per_namespace=1)
    objects.who()
    await clock.advance(901)
    objects.who(spots="b")
    assert len(objects) == 1


def test_one_namespace_does_not_take_all(make_objects: Make) -> None:
    objects = make_objects(limit=10)
    for number in range(5):
        objects.who(spots=f"s{number}")
    with pytest.raises(LimitError, match="namespace shop has reached its share"):
        objects.who(spots="s5")
    objects.who(namespace="blog")


async def test_who_has_not_asked_for_long_is_forgotten(objects: Any, clock: ManualClock) -> None:
    young, old = objects.who(spots="young"), objects.who(spots="old")
    await clock.advance(600)
    objects.who(spots="young")
    await clock.advance(301)
    objects.forget_old()
    assert list(objects) == [young]
    assert objects.who(spots="old") is not old


async def test_who_listens_is_not_forgotten(objects: Any, clock: ManualClock) -> None:
    who = objects.who()
    with objects.listening(who, lambda: None):
        await clock.advance(2_000)
        objects.forget_old()
        objects.who(spots="b")
        assert objects.who() is who


async def test_whose_leases_have_ended_holds_on_to_nothing(
    objects: Any, clock: ManualClock, reader: ScriptedReader, store: Snapshots
) -> None:
    """Else what the store has dropped would be kept for a quarter of an hour, beyond every limit."""
    reader.answers |= {"a": Work(3), "b": Work(4)}
    gone, asks, listens = (objects.who(spots=spot) for spot in "abc")
    for who in (gone, asks, listens):
        await objects.told(who)
    with objects.listening(listens, lambda: None):
        for _ in range(12):
            await clock.advance(10)
            await objects.told(objects.who(spots="b"))
            objects.rest()
        assert [bool(who.lease.states) for who in (gone, asks, listens)] == [False, True, True]
        assert gone.answer.readings == ()
        assert store.status(Spot("a")) is None
        assert gone.settling.told.active, "what it was told is remembered"
        reader.answers["a"] = Work(5)
        assert (await objects.told(gone)).metrics[0].value == 5, "but not told again"


async def test_a_listing_for_which_the_store_is_too_full_is_an_error_and_no_defect(
    reader: ScriptedReader, make_objects: Make, clock: ManualClock, open_store: Callable[..., Snapshots]
) -> None:
    store = open_store(reader, max_places=6)
    objects = make_objects(store=store)
    reader.answers |= {"q*": ("q1",), "q1": Work(0)}
    who = objects.find("shop", "orders", {"source": "scripted", "prefix": "q"})
    with objects.listening(who, lambda: None), capture_logs() as logs:
        await objects.told(who)
        reader.answers["q*"] = tuple(f"q{number}" for number in range(1, 9))
        await clock.advance(61)
        assert isinstance(who.error.error, LimitError)
        assert not objects.says_active(who)
        await clock.advance(61)
        reader.answers |= {"q*": ("q1", "q2"), "q2": Work(1)}
        await clock.advance(61)
        await objects.told(who)
        assert who.active
    assert logs == []


async def test_a_store_that_is_full_is_an_error_that_is_noted(
    reader: ScriptedReader, make_objects: Make, clock: ManualClock, open_store: Callable[..., Snapshots]
) -> None:
    objects = make_objects(store=open_store(reader, max_places=1))
    await objects.told(objects.who(spots="a"))
    who = objects.who(spots="b")
    with pytest.raises(LimitError, match=r"limits\.maxPlaces"):
        objects.answers.answer_nowait(who)
    assert isinstance(who.error.error, LimitError)
    assert who.settling.error_at == clock.now()
    with pytest.raises(LimitError):
        await objects.told(objects.who(spots="b", refreshSeconds="0"))
