"""What the text of an explanation says of one trigger, whoever gave it."""

from typing import Any

import pytest
from rich.text import Text

from scaler.commands.text import COLOURS, trigger_lines

SHOWN: dict[str, Any] = {
    "state": "active",
    "error": None,
    "held": None,
    "reasons": [],
    "doubts": [],
    "metrics": [],
    "components": [],
    "places": [],
    "cost": None,
    "calls": 3,
    "lastCall": 4.2,
    "streams": 1,
}
PLACE = {
    "place": "SQS queue orders in eu-west-1",
    "age": 70.0,
    "fault": None,
    "faultFor": None,
    "proof": "whole: a; from: b",
}
NOT_ALLOWED = "AWS refuses (AccessDenied): not allowed on arn:aws:sqs:eu-west-1:1:"


def said(**changes: Any) -> str:
    return "\n".join(
        Text.from_markup(line, emoji=False).plain for line in trigger_lines({**SHOWN, **changes}, served=True)
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "KEDA: 3 calls and streams opened, the last 4 s ago; streams: 1"),
        (
            {"calls": 0, "lastCall": None, "streams": 0},
            "KEDA has not asked this server about it with this metadata; streams: 0",
        ),
        (
            {"held": {"why": "no answer", "age": 70.0, "secondsLeft": 3_500.0}},
            "held for 58 min more (holdSeconds), then",
        ),
        ({"reasons": ["empty", "misspelt?"], "doubts": ["misspelt?"]}, "empty\ndoubtful: misspelt?"),
        ({"places": [PLACE]}, "SQS queue orders in eu-west-1: read 70.0 s ago (whole: a; from: b)"),
    ],
)
def test_what_is_said_of_a_trigger(changes: dict[str, Any], expected: str) -> None:
    assert expected in said(**changes)


def test_the_same_refusal_of_several_queues_is_told_once() -> None:
    names = ("orders", "mails")
    places = [{**PLACE, "place": f"SQS queue {name} in eu-west-1", "faultFor": 9.0} for name in names]
    for place, name in zip(places, names, strict=True):
        place["fault"] = f"{place['place']}: {NOT_ALLOWED}{name}"
    error = {"code": "FAILED_PRECONDITION", "message": places[0]["fault"]}
    text = said(state="error", error=error, places=places)
    assert text.count("AccessDenied") == 1
    assert text.count("failing for 9 s, as above") == 2
    places[1]["fault"] = f"{places[1]['place']}: NonExistentQueue"
    assert "failing for 9 s: NonExistentQueue" in said(state="error", error=error, places=places)


@pytest.mark.parametrize("state", ["active", "inactive", "error", "held", "settling", "unknown"])
def test_every_state_has_its_colour(state: str) -> None:
    assert state in COLOURS
