"""One night of a trigger, as a journal has it."""

from datetime import UTC
from typing import Any

from rich.text import Text

from scaler.commands.journal import Frame, Journal, lines

BEGAN = 1_764_295_200.0  # 2025-11-28 02:00:00 UTC
FAULT = "SQS queue orders: no answer within 5 s"
NIGHT: dict[str, Any] = {
    "namespace": "shop",
    "name": "orders",
    "source": "sqs",
    "specs": [{"name": "sqs-orders", "target": 5.0}],
    "since": BEGAN,
    "lastAsked": BEGAN + 9_000,
    "streams": 1,
    "events": [
        {"at": BEGAN, "kind": "inactive"},
        {"at": BEGAN, "kind": "value", "values": [0.0]},
        {"at": BEGAN + 600, "kind": "active"},
        {"at": BEGAN + 600, "kind": "value", "values": [120.0]},
        {"at": BEGAN + 1_000, "kind": "fault", "message": FAULT},
        {"at": BEGAN + 1_060, "kind": "held", "active": True, "message": FAULT},
        {"at": BEGAN + 4_660, "kind": "error", "code": "UNAVAILABLE", "message": FAULT},
        {"at": BEGAN + 4_700, "kind": "healed"},
        {"at": BEGAN + 4_700, "kind": "settling", "active": True},
        {"at": BEGAN + 4_760, "kind": "active"},
        {"at": BEGAN + 4_760, "kind": "value", "values": [60.0]},
        {"at": BEGAN + 6_000, "kind": "stream", "open": 1},
        {"at": BEGAN + 8_000, "kind": "asked", "after": 1_200.0},
    ],
}
ANSWER = {"since": BEGAN, "now": BEGAN + 9_010, "omitted": 0, "triggers": [NIGHT]}


def told(after: float, answer: dict[str, Any] = ANSWER, around: float = 900, server: str = "") -> str:
    found = lines(Journal.of(answer, server), Frame(BEGAN + after, around, UTC))
    return "\n".join(Text.from_markup(line, emoji=False).plain for line in found)
