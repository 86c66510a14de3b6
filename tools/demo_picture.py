"""Draws docs/images/demo.svg: what `scaler demo` shows at 80 columns, from the run recorded in tools/demo.json.

`python -m tools.demo_picture` plays the demo and records it anew, at the second in which it is busiest.
"""

import asyncio
import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from rich.console import Console

from scaler.demo.run import NEXT, cycles, staged
from scaler.demo.stage import Row
from scaler.demo.view import View

RECORDED = Path(__file__).parent / "demo.json"
ADDRESS, COLUMNS = "127.0.0.1:9090", 80
NEXT_STEPS = [
    f"scaler explain /tmp/demo-5f3kq1xz/shoryuken.yaml --address {ADDRESS}",
    NEXT,
]
_FIELDS = ("replicas", "most", "waiting", "metrics", "active", "last", "why", "failing", "woke_seconds")


def render() -> str:
    """Return the picture."""
    recorded = json.loads(RECORDED.read_text())
    rows = [_row(row) for row in recorded["rows"]]
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, legacy_windows=False)
    view = View(console, "http://127.0.0.1:9091/", NEXT_STEPS)
    console.print(view.picture(rows, recorded["seconds"]))
    return console.export_svg(title="scaler demo", unique_id="demo")


def _row(recorded: dict[str, Any]) -> Row:
    workload: Any = SimpleNamespace(**recorded["workload"])
    scaled_object: Any = None  # the view does not look at it
    row = Row(workload, scaled_object, **{name: recorded[name] for name in _FIELDS})
    row.course.extend(recorded["course"])
    return row


def snapshot(rows: list[Row], seconds: float) -> dict[str, Any]:
    """Return what the view shows of `rows`."""
    return {
        "seconds": round(seconds),
        "rows": [
            {
                "workload": {name: getattr(row.workload, name) for name in ("name", "label", "interrupted")},
                **{name: getattr(row, name) for name in _FIELDS},
                "course": list(row.course),
            }
            for row in rows
        ],
    }


async def record() -> dict[str, Any]:
    """Play one cycle; return its moment with the most replicas and the most of the course behind it."""
    async with staged("127.0.0.1:0", "127.0.0.1:0") as stage:
        began = asyncio.get_running_loop().time()
        best: dict[str, Any] = {}
        most = 0
        playing = asyncio.create_task(cycles(stage, once=True))
        while not playing.done():
            await asyncio.sleep(0.5)
            running = sum(row.replicas for row in stage.rows)
            if running >= most and all(row.metrics for row in stage.rows):
                most, best = running, snapshot(stage.rows, asyncio.get_running_loop().time() - began)
    return best


if __name__ == "__main__":
    RECORDED.write_text(json.dumps(asyncio.run(record()), ensure_ascii=False, separators=(",", ":")) + "\n")
