"""Draws the screens of docs/top.md: the real drawing of `scaler top`, over rows that are written here."""

import io
import math
from pathlib import Path
from typing import Any

from rich.console import Console

from scaler.commands.top import Query, View
from scaler.commands.top_table import Data, screen

PAGE = Path(__file__).parent.parent / "docs" / "top.md"
SERVER = "http://127.0.0.1:9091/"


def render() -> str:
    """Return docs/top.md with its screens drawn anew; each follows a line `<!-- screen: WIDTHxHEIGHT -->`."""
    done: list[str] = []
    lines = iter(PAGE.read_text().splitlines())
    for line in lines:
        done.append(line)
        if line.startswith("<!-- screen: "):
            size = line.removeprefix("<!-- screen: ").removesuffix(" -->")
            width, height = map(int, size.split("x"))
            done += ["```text", *_drawn(width, height), "```"]
            if next(lines, "") == "```text":
                while next(lines, "```") != "```":  # the screen as it was
                    pass
    return "\n".join(done) + "\n"


def _drawn(width: int, height: int) -> list[str]:
    data = Data({"total": 8, "matched": 8, "page": 1, "pages": 1, "states": _states(), "items": ROWS})
    console = Console(width=width, height=height, file=io.StringIO(), force_terminal=False)
    console.print(screen(data, View(Query()), width, height, SERVER))
    text = console.file.getvalue()  # type: ignore[attr-defined]  # it is the StringIO from above
    return [line.rstrip() for line in text.splitlines()]


def _states() -> dict[str, int]:
    return {"error": 1, "held": 1, "stale": 1, "settling": 1, "active": 3, "inactive": 1}


def _row(name: str, source: str, state: str, metric: tuple[float | None, float], **changes: Any) -> dict[str, Any]:
    namespace, _, short = name.partition("/")
    value, target = metric
    course = [None if value is None else max(0.0, value * (0.6 + 0.5 * math.sin(step / 9))) for step in range(120)]
    return {
        "namespace": namespace,
        "name": short,
        "source": source,
        "state": state,
        "stale": False,
        "error": None,
        "held": None,
        "fault": None,
        "doubts": [],
        "reasons": [],
        "active": state != "inactive",
        "streams": 1,
        "activeSince": 1_320.0,
        "readingAge": 3.0,
        "lastCall": 12.0,
        "metrics": [{"name": source, "value": value, "target": target}],
        "recent": {"series": {"value": course}},
        **changes,
    }


THROTTLED = "SQS queue returns in eu-west-1: AWS throttles GetQueueAttributes (RequestThrottled)"
ROWS = [
    _row(
        *("bank/ledger", "sqs", "error", (None, 5.0)),
        error={
            "code": "UNAVAILABLE",
            "message": "SQS queue ledger in eu-central-1: no answer from "
            "sqs.eu-central-1.amazonaws.com within 5 s; is it reachable?",
        },
        readingAge=None,
    ),
    _row(
        *("shop/mailers", "sidekiq", "held", (42.0, 10.0)),
        held={"why": "redis/main: no answer within 2 s", "age": 240.0, "secondsLeft": 3_420.0},
        readingAge=240.0,
    ),
    _row("shop/returns", "sqs", "active", (12.0, 5.0), stale=True, fault=THROTTLED, readingAge=41.0),
    _row("shop/invoices", "sqs", "settling", (30.0, 5.0), reasons=["settling: lower is read since trouble"]),
    _row("flux-system/flux-shard1", "flux", "active", (44.0, 10.0), reasons=["active: 8 sources have a new revision"]),
    _row("media/thumbnails", "sqs", "active", (128.0, 5.0), reasons=["active: backlog 128 is above 0"]),
    _row("shop/orders", "sqs", "active", (31.0, 5.0), reasons=["active: backlog 31 is above 0"]),
    _row("argocd/repo-server", "argocd", "inactive", (0.0, 3.0), reasons=["inactive: nothing waits"], streams=0),
]
