"""After a fault, slowly to zero: over the store, for polls and for streams."""

import math
from contextlib import suppress
from typing import Any

import pytest

from scaler.core.errors import Unavailable
from scaler.demo.asked_store import AskedStore as Snapshots
from scaler.demo.clock import ManualClock
from scaler.demo.scripted import ScriptedReader, Work

pytestmark = pytest.mark.usefixtures("scripted_source")

DOWN = Unavailable("down")


@pytest.mark.parametrize("polls", [0, 1, 2, 10])
async def test_polls_after_an_outage_settle(
    objects: Any, clock: ManualClock, reader: ScriptedReader, polls: int
) -> None:
    """However long the outage is: between two polls, as long as the last good reading is served, or longer."""
    reader.answers["a"] = Work(3)
    who = objects.who(settleSeconds="45", refreshSeconds="5")
    assert (await objects.told(who)).active
    reader.answers["a"] = DOWN
    for _ in range(polls):
        await clock.advance(30)
        with suppress(Unavailable):
            assert (await objects.told(who)).active
    await clock.advance(6)
    reader.answers["a"] = Work(0)
    await clock.advance(24)
    said = []
    for _ in range(4):
        said.append((await objects.told(who)).active)
        await clock.advance(30)
    assert said == [True, True, False, False]


async def test_a_slow_poller_that_was_told_an_error_settles(
    objects: Any, clock: ManualClock, reader: ScriptedReader, store: Snapshots
) -> None:
    """Between its polls nobody asks, so the store forgets the place and its fault."""
    reader.answers["a"] = Work(3)
    who = objects.who(settleSeconds="45", holdSeconds="0")
    assert (await objects.told(who)).active
    reader.answers["a"] = DOWN
    await clock.advance(300)
    with pytest.raises(Unavailable):
        await objects.told(objects.who(settleSeconds="45", holdSeconds="0"))
    reader.answers["a"] = Work(0)
    await clock.advance(300)
    assert len(store) == 0
    assert (await objects.told(objects.who(settleSeconds="45", holdSeconds="0"))).active
    await clock.advance(300)
    assert not (await objects.told(objects.who(settleSeconds="45", holdSeconds="0"))).active


async def test_a_listener_settles_without_anybody_asking(
    objects: Any, clock: ManualClock, reader: ScriptedReader
) -> None:
    reader.answers["a"] = Work(3)
    who = objects.who(settleSeconds="45", refreshSeconds="5")
    with objects.listening(who, lambda: None):
        await objects.told(who)
        reader.answers["a"] = DOWN
        await clock.advance(10)
        reader.answers["a"] = Work(0)
        await clock.advance(47)
        assert who.active
        await clock.advance(1)
        assert clock.now() - who.answer.readings[0].trouble_at < 45 + 5
        assert not who.active
        assert who.answer.rejudge_at == math.inf, "it is judged at changes alone again"
