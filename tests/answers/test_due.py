"""What falls due: listeners are woken at its moment, without a new reading."""

from dataclasses import replace
from typing import Any

import pytest

from scaler.core.domain import Assessment
from scaler.demo.clock import ManualClock
from scaler.demo.scripted import ScriptedReader, ScriptedTrigger, Work

pytestmark = pytest.mark.usefixtures("scripted_source")


async def test_what_falls_due_wakes_at_its_moment(objects: Any, clock: ManualClock, reader: ScriptedReader) -> None:
    began = clock.now()
    reader.answers["a"] = Work(0, due=clock.wall() + 5.25)
    who, woken = objects.who(idleRefreshSeconds="60", refreshSeconds="60"), list[float]()
    with objects.listening(who, lambda: woken.append(clock.now() - began)):
        assert not (await objects.told(who)).active
        woken.clear()
        await clock.advance(30)
        assert woken == [5.25]
        assert objects.says_active(who)
        assert reader.count("a") == 1
        assert who.timer is None


async def test_what_falls_due_has_one_timer(objects: Any, clock: ManualClock, reader: ScriptedReader) -> None:
    who, due = objects.who(), clock.wall() + 1_000
    with objects.listening(who, lambda: None):
        reader.answers["a"] = Work(0, due)
        await clock.advance(10)
        timers = clock.pending
        for value in range(1, 10):
            reader.answers["a"] = Work(value, due)
            await clock.advance(10)
        assert clock.pending == timers


async def test_a_value_that_grows_all_the_time_is_judged_at_each_reading(
    objects: Any, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged, assess, began = list[float](), ScriptedTrigger.assess, clock.now()

    def growing(self: ScriptedTrigger, readings: Any, now: float) -> Assessment:
        judged.append(clock.now() - began)
        return replace(assess(self, readings, now), until=now)

    monkeypatch.setattr(ScriptedTrigger, "assess", growing)
    with objects.listening(objects.who(), lambda: None):
        await clock.advance(5)
    assert judged == [0, 1, 2, 3, 4, 5]


async def test_what_falls_due_in_a_blink_wakes_too(objects: Any, clock: ManualClock, reader: ScriptedReader) -> None:
    reader.answers["a"] = Work(0, due=clock.wall() + 0.02)
    who = objects.who(idleRefreshSeconds="60", refreshSeconds="60")
    with objects.listening(who, lambda: None):
        await objects.told(who)
        await clock.advance(0.09)
        assert not who.active, "what falls due in the same tenth of a second is judged once"
        await clock.advance(0.01)
        assert who.active


async def test_nobody_is_woken_after_the_stream_has_ended(
    objects: Any, clock: ManualClock, reader: ScriptedReader
) -> None:
    reader.answers["a"] = Work(0, due=clock.wall() + 5)
    who = objects.who()
    with objects.listening(who, pytest.fail):
        who.listeners.clear()
        who.listeners.add(lambda: None)
        await objects.told(who)
        assert who.timer is not None
        who.listeners.clear()
    assert who.timer is None
    await clock.advance(6)


async def test_a_poll_sees_what_has_fallen_due_on_an_old_reading(
    objects: Any, clock: ManualClock, reader: ScriptedReader
) -> None:
    reader.answers["a"] = Work(0, due=clock.wall() + 5)
    who = objects.who(refreshSeconds="60")
    assert not (await objects.told(who)).active
    await clock.advance(5)
    assert (await objects.told(who)).metrics[0].value == 1
    assert reader.count("a") == 1
