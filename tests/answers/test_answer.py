"""Who asks, what they are told, and that GetMetrics and IsActive agree."""

import asyncio
import math
from contextlib import ExitStack, suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scaler.answers.answer import Answers
from scaler.core.errors import Fault, Refused, Unavailable
from scaler.demo.asked_store import AskedStore as Snapshots
from scaler.demo.clock import ManualClock
from scaler.demo.desk import Desk
from scaler.demo.scripted import ScriptedReader, ScriptedTrigger, Slow, Spot, Work
from scaler.sources.access import Access
from tests.answers.asking import WAIT_SECONDS, told_by_is_active

pytestmark = pytest.mark.usefixtures("scripted_source")
DOWN = Unavailable("down")


# What is told


async def test_one_reading_answers_all(objects: Any, clock: ManualClock, reader: ScriptedReader) -> None:
    reader.answers["a"] = Slow(1, Work(7))
    scaled_objects = [
        objects.find("shop", f"orders-{number}", {"source": "scripted", "spots": "a"}) for number in range(200)
    ]
    tasks = [asyncio.ensure_future(objects.answers.answer(who, WAIT_SECONDS)) for who in scaled_objects]
    await clock.advance(1)
    assert {(await task).told.metrics[0].value for task in tasks} == {7}
    assert reader.count("a") == 1


async def test_every_metric_is_judged_from_all_places(objects: Any, reader: ScriptedReader) -> None:
    reader.answers |= {"a": Work(3), "b": Work(4)}
    who = objects.who(spots="a,b", second="2")
    assert [(metric.name, metric.value) for metric in (await objects.told(who)).metrics] == [
        ("scripted", 7),
        ("scripted-second", 4),
    ]
    assert who.active


async def test_what_has_not_changed_is_not_judged_again(
    objects: Any,
    clock: ManualClock,
    reader: ScriptedReader,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    judged: list[float] = []
    assess = ScriptedTrigger.assess
    monkeypatch.setattr(
        ScriptedTrigger, "assess", lambda self, readings, now: judged.append(now) or assess(self, readings, now)
    )
    who = objects.who()
    with objects.listening(who, lambda: None):
        for _ in range(10):
            first = await objects.told(who)
            await clock.advance(30)
            assert (await objects.told(who)) is first
        assert len(judged) == 1
        reader.answers["a"] = Work(1)
        await clock.advance(10)
        await objects.told(who)
        assert len(judged) == 2


async def test_a_fault_is_told_and_noted_without_frames(objects: Any, reader: ScriptedReader) -> None:
    reader.answers["a"] = Refused("no such spot")
    who = objects.who()
    with pytest.raises(Refused, match="no such spot"):
        await objects.told(who)
    assert isinstance(who.error.error, Refused)
    assert (str(who.error.error), who.error.error.__traceback__) == ("no such spot", None)
    assert not who.active
    assert who.told is None
    reader.answers["a"] = Work()
    with pytest.raises(Refused):
        await objects.told(who)


@pytest.mark.parametrize(
    ("value", "text"), [(-1, "less than nothing"), (math.nan, "internal error"), (math.inf, "internal error")]
)
async def test_readings_that_do_not_tell_are_a_fault_every_time(
    objects: Any, clock: ManualClock, reader: ScriptedReader, value: float, text: str
) -> None:
    """Not once a fault, and then what was told before it."""
    reader.answers["a"] = Work(3)
    who = objects.who(settleSeconds="45", holdSeconds="0")
    await objects.told(who)
    reader.answers["a"] = Work(value)
    await clock.advance(10)
    with objects.listening(who, lambda: None):
        for _ in range(3):
            with pytest.raises(Fault, match=text):
                await objects.told(who)
            assert not objects.says_active(who)
            await clock.advance(10)
    reader.answers["a"] = Work(0)
    await clock.advance(10)
    assert (await objects.told(who)).active, "it counts as a fault for the settling time"


async def test_after_a_fault_the_error_is_gone(objects: Any, clock: ManualClock, reader: ScriptedReader) -> None:
    reader.answers["a"] = DOWN
    who = objects.who()
    with pytest.raises(Unavailable):
        await objects.told(who)
    reader.answers["a"] = Work(2)
    await clock.advance(1)
    assert (await objects.told(who)).active
    assert who.error is None


async def test_answers_need_nobody_who_listens_to_them(
    objects: Any, clock: ManualClock, reader: ScriptedReader, store: Snapshots
) -> None:
    reader.answers |= {"q*": ("q1",), "q1": Work(3)}
    who = objects.find("shop", "orders", {"source": "scripted", "prefix": "q"})
    who.question.spares = True
    alone = Answers(store, objects.leases, clock)
    task = asyncio.ensure_future(alone.answer(who, WAIT_SECONDS))
    await clock.advance(0)
    assert (await task).told.metrics[0].value == 3


async def test_since_when_it_is_active_counts_from_the_change_whatever_errors_lie_between(
    objects: Any, clock: ManualClock, reader: ScriptedReader
) -> None:
    who = objects.who(holdSeconds="0", settleSeconds="0", staleSeconds="10")

    async def since(outcome: Any) -> float:
        reader.answers["a"] = outcome
        await clock.advance(40)
        with suppress(Unavailable):
            await objects.told(who)
        return float(clock.now() - who.active_since)

    assert math.isnan(await since(DOWN)), "nothing was told yet"
    assert await since(Work(0)) == 0
    assert await since(Work(0)) == 40
    assert await since(DOWN) == 80
    assert await since(Work(0)) == 120, "it was told nothing else"
    await since(DOWN)
    assert await since(Work(3)) == 0
    assert await since(Work(4)) == 40


# GetMetrics and IsActive


async def test_is_active_is_told_what_get_metrics_was(objects: Any, clock: ManualClock, reader: ScriptedReader) -> None:
    """Also when a stream of the same trigger has judged newer readings in between."""
    reader.answers["a"] = Work(3)
    who = objects.who()
    with objects.listening(who, lambda: None):
        first = await objects.told(who)
        reader.answers["a"] = Work(0)
        reader.hint(Spot("a"))
        await clock.advance(1.5)
        assert not who.active, "the stream knows"
        assert await told_by_is_active(objects, who) is first
        await clock.advance(0.5)
        assert await told_by_is_active(objects, who) is first, "the last moment"
        await clock.advance(0.1)
        assert not (await told_by_is_active(objects, who)).active


async def test_is_active_after_a_failed_get_metrics_fails_too(
    objects: Any, clock: ManualClock, reader: ScriptedReader
) -> None:
    reader.answers["a"] = Work(3)
    who = objects.who(refreshSeconds="1", staleSeconds="1", holdSeconds="0")
    await objects.told(who)
    reader.answers["a"] = DOWN
    await clock.advance(1.5)
    with pytest.raises(Unavailable):
        await objects.told(who)
    for _ in range(3):
        with pytest.raises(Unavailable):
            await told_by_is_active(objects, who)
    assert who.poll.outcome.__traceback__ is None, "nothing grows with each call of an outage"


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["work", "nothing", "fault", "heal", "stream"]),
        st.sampled_from([0.0, 0.1, 1.0, 1.9, 15.0, 40.0]),
        st.sampled_from([0.0, 0.1, 1.9]),
    ),
    max_size=15,
)


@given(STEPS, st.sampled_from(["0", "15"]))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_happens_the_two_never_contradict_each_other(
    steps: list[tuple[str, float, float]], settle_seconds: str
) -> None:
    async def run() -> None:
        clock = ManualClock()
        reader = ScriptedReader(clock)
        store = Snapshots([reader], clock)
        objects = Desk(store, Access(), clock, limit=9)
        number = 0
        with ExitStack() as streams:
            for what, before, between in steps:
                metadata = {"source": "scripted", "spots": "a", "settleSeconds": settle_seconds}
                who = objects.find("shop", "orders", metadata)
                number += 1
                if what == "stream":
                    streams.enter_context(objects.listening(who, lambda: None))
                else:
                    answers = {"work": Work(number), "nothing": Work(0), "fault": DOWN, "heal": Work(0)}
                    reader.answers["a"] = answers[what]
                    reader.hint(Spot("a"))
                await clock.advance(before)
                try:
                    value = (await objects.told(who)).metrics[0].value
                except Unavailable:
                    continue
                reader.answers["a"] = Work(0)
                reader.hint(Spot("a"))
                await clock.advance(between)
                active = (await told_by_is_active(objects, who)).active
                assert active or value == 0
        await store.close()
        assert clock.pending == 0

    asyncio.run(run())


async def test_messages_are_made_anew_only_for_other_values(
    objects: Any, clock: ManualClock, reader: ScriptedReader
) -> None:
    who = objects.who()
    reader.answers["a"] = Work(3)
    first = await objects.answer(who)
    first.wire.append("three")
    reader.answers["a"] = Work(3, due=clock.wall() + 1_000)
    await clock.advance(10)
    again = await objects.answer(who)
    assert again.readings != first.readings
    assert again.wire == ["three"]
    reader.answers["a"] = Work(4)
    await clock.advance(10)
    assert (await objects.answer(who)).wire == []
