"""What the journal notes, in what room, and what it says of it."""

import gc
import tracemalloc
from contextlib import suppress
from typing import Any

import pytest

from scaler.answers.scaledobject import ScaledObject
from scaler.answers.state import Answer
from scaler.core.domain import Assessment, Metric
from scaler.core.errors import MetadataError, Unavailable
from scaler.demo.clock import ManualClock
from scaler.demo.desk import Desk
from scaler.demo.scripted import ScriptedReader, Work
from scaler.observe.journal import Journal, View
from scaler.observe.journal.journal import LINE_SHARE

pytestmark = pytest.mark.usefixtures("scripted_source")
DOWN = Unavailable("spot a: no route (tried 3 times)")
BEGAN = 1_800_000_000.0
ROOM = 16 * 2**20 // 10
"""A tenth of the default, for a tenth of the 10,000 triggers that it is for."""


@pytest.fixture
def journal(objects: Desk, clock: ManualClock) -> Journal:
    made = Journal(16 * 2**20, clock)
    made.follow(objects.registry, objects.answers, objects.listeners)
    return made


@pytest.fixture
def view(journal: Journal, clock: ManualClock) -> View:
    return View(journal, clock)


class Poller:
    """KEDA, which asks every 30 seconds."""

    def __init__(self, objects: Desk, reader: ScriptedReader, clock: ManualClock) -> None:
        self.objects, self.reader, self.clock = objects, reader, clock

    async def poll(self, answer: Any, times: int = 1, seconds: float = 30.0, **metadata: str) -> None:
        self.reader.answers["a"] = answer
        for _ in range(times):
            who = self.objects.who(**metadata)
            with suppress(Unavailable):
                await self.objects.answer(who)
            await self.clock.advance(seconds)


@pytest.fixture
def keda(objects: Desk, reader: ScriptedReader, clock: ManualClock) -> Poller:
    return Poller(objects, reader, clock)


def told(view: View, **kwargs: Any) -> list[tuple[Any, ...]]:
    """Return the events of the only trigger, with times since the journal began."""
    (trigger,) = view.whole(**kwargs)["triggers"]
    return [(event.pop("at") - BEGAN, event.pop("kind"), *event.values()) for event in trigger["events"]]


async def test_values_and_activity_are_noted_when_they_change(keda: Poller, view: View) -> None:
    await keda.poll(Work(0), 4)
    await keda.poll(Work(12), 4)
    await keda.poll(Work(0), 1)
    await keda.poll(Work(0), 1)
    assert told(view) == [
        (0, "inactive"),
        (0, "value", [0]),
        (150, "active"),  # the poll after the reading
        (150, "value", [12]),
        (270, "inactive"),
        (270, "value", [0]),
    ]


async def test_an_outage_is_told_from_the_fault_to_the_end_of_settling(keda: Poller, view: View) -> None:
    await keda.poll(Work(12), 2, holdSeconds="300", settleSeconds="60")
    await keda.poll(DOWN, 16, holdSeconds="300", settleSeconds="60")
    await keda.poll(Work(3), 5, holdSeconds="300", settleSeconds="60")
    kinds = [event[1] for event in told(view)]
    assert kinds == ["active", "value", "fault", "held", "error", "settling", "value", "healed", "active", "value"]
    by_kind = {event[1]: event for event in told(view)}
    assert by_kind["fault"][2] == str(DOWN)
    assert by_kind["held"][2:] == (True, str(DOWN))
    assert by_kind["error"][2:] == ("UNAVAILABLE", str(DOWN))
    assert by_kind["settling"][2:] == (True,)
    assert told(view)[-1][2] == [3]


async def test_a_message_whose_numbers_change_is_noted_once(keda: Poller, view: View) -> None:
    for times in range(20):
        await keda.poll(Unavailable(f"spot a: no route (tried {times} times)"), holdSeconds="0")
    assert [event[1] for event in told(view)] == ["error", "fault"]


async def test_silence_is_told_and_a_slow_poller_is_not_silent(keda: Poller, view: View, clock: ManualClock) -> None:
    await keda.poll(Work(1), 3)
    await clock.advance(600)
    await keda.poll(Work(1), 30)
    await clock.advance(700)
    await keda.poll(Work(1), 1)
    silences = [event for event in told(view) if event[1] == "asked"]
    assert silences == [(690, "asked", 630), (2_290, "asked", 730)]
    await keda.poll(Work(1), 12, 300)
    assert [event for event in told(view) if event[1] == "asked"] == silences


async def test_people_are_not_keda(objects: Desk, view: View, reader: ScriptedReader) -> None:
    reader.answers["a"] = Work(3)
    who = objects.registry.look_up("shop", "orders", {"source": "scripted", "spots": "a"})
    await objects.answer(who)
    (trigger,) = view.whole()["triggers"]
    assert trigger["lastAsked"] is None
    objects.who()
    (trigger,) = view.whole()["triggers"]
    assert trigger["lastAsked"] == BEGAN


async def test_who_is_forgotten_and_comes_back_has_one_story(
    keda: Poller, objects: Desk, view: View, clock: ManualClock
) -> None:
    await keda.poll(Work(12), 2)
    await clock.advance(3_600)
    objects.forget_old()
    assert len(objects) == 0
    (trigger,) = view.whole("shop", "orders")["triggers"]
    assert trigger["lastAsked"] == BEGAN + 30
    await keda.poll(Work(12), 1)
    assert [event[:2] for event in told(view)] == [(0, "active"), (0, "value"), (3_660, "asked")]


async def test_streams_that_come_back_at_once_were_never_closed(
    keda: Poller, objects: Desk, journal: Journal, view: View, clock: ManualClock
) -> None:
    await keda.poll(Work(0), 1)
    who: ScaledObject = objects.who()
    for _ in range(3):
        with objects.listening(who, lambda: None):
            await clock.advance(60)
        await clock.advance(2)
    await clock.advance(60)
    journal.tidy()
    assert [event for event in told(view) if event[1] == "stream"] == [(30, "stream", 1), (214, "stream", 0)]


async def test_refused_metadata_is_remembered_until_it_is_mended(
    objects: Desk, journal: Journal, view: View, clock: ManualClock
) -> None:
    for _ in range(3):
        with pytest.raises(MetadataError):
            objects.who(target="none")
        await clock.advance(30)
    (refused,) = view.whole(name="orders")["triggers"]
    (event,) = refused["events"]
    assert (event["kind"], event["code"], event["count"]) == ("refused", "INVALID_ARGUMENT", 3)
    assert (event["at"], event["until"]) == (BEGAN, BEGAN + 60)
    assert refused["source"] == "scripted"
    assert len(journal.refusals.present(900)) == 1
    objects.who()
    assert journal.refusals.present(900) == []
    with pytest.raises(MetadataError):  # another trigger of it, which is still refused
        objects.who(target="none")
    assert len(journal.refusals.present(900)) == 1


def test_one_namespace_cannot_drive_out_the_refusals_of_others(objects: Desk, journal: Journal) -> None:
    with pytest.raises(MetadataError):
        objects.who(namespace="shop", target="none")
    for number in range(3_000):
        with pytest.raises(MetadataError):
            objects.who(namespace="noisy", **{f"key{number}": "x"})
    assert len(journal.refusals) <= 1_100
    assert [each.namespace for each in journal.refusals.present(900)].count("shop") == 1


async def test_a_day_later_only_what_still_holds_is_left(
    keda: Poller, journal: Journal, view: View, clock: ManualClock
) -> None:
    await keda.poll(Work(12), 2)
    await clock.advance(86_400 + 60)
    journal.tidy()
    assert [event[1] for event in told(view)] == ["active", "value"]
    keda.objects.forget_old()
    journal.tidy()
    assert view.whole()["triggers"] == []
    assert (len(journal.lines), len(journal.texts), journal.used) == (0, 0, 0)


def tell(desk: Desk, scaled_object: ScaledObject, value: float) -> None:
    """Answer, as far as the journal is concerned."""
    told = Assessment((Metric("scripted", value),), value > 5, ())
    scaled_object.answer = Answer((), None, told, "active" if told.active else "inactive")
    desk.answers.on_noted(scaled_object)


@pytest.mark.slow
async def test_busy_triggers_stay_within_their_room(make_objects: Any, clock: ManualClock) -> None:
    desk = make_objects(limit=2_000, per_namespace=2_000)
    scaled_objects = [desk.who(namespace=f"team-{number % 10}", prefix=f"p{number}") for number in range(1_000)]
    for scaled_object in scaled_objects:  # the answers themselves are not the journal's
        tell(desk, scaled_object, 0)
    gc.collect()
    tracemalloc.start()
    try:
        journal = Journal(ROOM, clock)
        journal.follow(desk.registry, desk.answers, desk.listeners)
        for turn in range(40):
            await clock.advance(90)
            for scaled_object in scaled_objects:
                tell(desk, scaled_object, turn % 7 + turn)
        for scaled_object in scaled_objects:
            scaled_object.answer = None
        gc.collect()
        taken = sum(each.size for each in tracemalloc.take_snapshot().statistics("filename"))
    finally:
        tracemalloc.stop()
    assert len(journal.lines) == 1_000
    assert taken <= ROOM
    assert journal.used <= ROOM * LINE_SHARE * 1.02
    assert min(len(line.records) // 9 for line in journal.lines) >= 25


def test_beyond_the_room_the_namespace_with_the_most_gives_way(make_objects: Any, clock: ManualClock) -> None:
    desk = make_objects(limit=2_000, per_namespace=2_000)
    journal = Journal(200_000, clock)
    journal.follow(desk.registry, desk.answers, desk.listeners)
    few = desk.who(namespace="few", prefix="p")
    many = [desk.who(namespace="many", prefix=f"p{number}") for number in range(400)]
    for turn in range(5):
        for scaled_object in (few, *many):
            tell(desk, scaled_object, turn)
    assert len(journal.lines) < 200
    assert len(journal.lines.of("few")) == 1
    assert journal.used <= 200_000 * LINE_SHARE * 1.02
    for scaled_object in (few, *many):
        scaled_object.answer = None
