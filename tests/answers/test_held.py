"""What was told active is held, says so, and is logged."""

from typing import Any

import pytest
from structlog.testing import capture_logs

from scaler.core.errors import Refused, Unavailable
from scaler.demo.clock import ManualClock
from scaler.demo.scripted import ScriptedReader, Work
from tests.answers.asking import told_by_is_active

pytestmark = pytest.mark.usefixtures("scripted_source")
DOWN = Unavailable("down")


async def test_what_was_told_active_is_held_and_says_so(
    objects: Any, clock: ManualClock, reader: ScriptedReader
) -> None:
    reader.answers["a"] = Work(3)
    who = objects.who(refreshSeconds="1", staleSeconds="60", holdSeconds="300")
    await objects.told(who)
    reader.answers["a"] = Refused("wrong password")
    with capture_logs() as logs:
        for _ in range(11):
            await clock.advance(30)
            told = await objects.told(who)
            assert (told.metrics[0].value, told.active) == (3, True)
    assert who.answer.state == "held"
    assert isinstance(who.answer.fault, Refused)
    assert who.answer.fault.__traceback__ is None
    assert "held" in told.reasons[0]
    assert logs == [
        {
            "event": "the last answer is held",
            "log_level": "warning",
            "why": "wrong password",
            "hold_seconds": 300,
            "namespace": "shop",
            "scaledobject": "orders",
        }
    ]
    assert (await told_by_is_active(objects, who)).active
    await clock.advance(60)
    with pytest.raises(Refused, match="wrong password"):
        await objects.told(who)
    assert who.answer is None


async def test_each_trigger_that_is_held_is_logged(objects: Any, clock: ManualClock, reader: ScriptedReader) -> None:
    reader.answers["a"] = Work(3)
    names = ["orders", "mails"]
    for name in names:
        await objects.told(objects.find("shop", name, {"source": "scripted", "spots": "a"}))
    reader.answers["a"] = DOWN
    await clock.advance(61)
    with capture_logs() as logs:
        for name in names:
            await objects.told(objects.find("shop", name, {"source": "scripted", "spots": "a"}))
    assert [entry["scaledobject"] for entry in logs] == names
