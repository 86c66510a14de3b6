"""What the demo's view shows on terminals of several widths, and in a pipe."""

import io
import json
import re
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from scaler.demo.stage import Row
from scaler.demo.view import View, change_line
from scaler.keda.executor import MetricResult
from scaler.keda.standin import Event
from tools import demo_picture

LONG = "s0-sidekiq-waiting-critical-default-mailers-low-priority"


def row(**changes: Any) -> Row:
    workload: Any = SimpleNamespace(name="flux-shard1", label="Kustomizations", interrupted=3)
    scaled_object: Any = None
    made = Row(workload, scaled_object, replicas=12, most=12, waiting=12345, active=True)
    made.metrics = {LONG: (12345.5, 0.75), "s0-b": (None, 5)}
    made.last, made.why, made.woke_seconds = "push: 0 → 1", "ScalerActive", 0.314
    made.course.extend([12] * 60)
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def shown(rows: list[Row], width: int) -> list[str]:
    console = Console(width=width, file=io.StringIO(), force_terminal=True, color_system=None)
    console.print(View(console, "http://127.0.0.1:9/", ["scaler explain x", "next: read on"]).picture(rows, 7))
    text: str = console.file.getvalue()  # type: ignore[attr-defined]  # it is the StringIO from above
    return [line.rstrip() for line in text.splitlines()]


@pytest.mark.parametrize("width", [50, 70, 80, 100, 160])
def test_numbers_stay_whole_and_the_bars_yield(width: int) -> None:
    lines = shown([row()], width)
    text = "\n".join(lines)
    assert "…" not in text
    assert all(len(line) <= width for line in lines)
    for part in ("12345.5 / 0.75", "error / 5", "active", "push: 0 → 1, ScalerActive", "3 jobs interrupted", "314 ms"):
        assert part in text
    assert len(re.findall("[▁▂▃▄▅▆▇█]", text)) == {50: 0, 70: 8, 80: 18, 100: 38, 160: 60}[width]
    assert lines[-1] == "next: read on"
    assert "http://127.0.0.1:9/" in text


def test_a_trigger_that_fails_does_not_look_asleep() -> None:
    made = row(replicas=0)
    made.note(Event(9, "poll", 0, "TriggerError", active=False, errors=("GetMetrics: UNAVAILABLE: no answer",)))
    text = "\n".join(shown([made], 80))
    assert not made.polled
    assert "asleep" not in text
    assert "GetMetrics: UNAVAILABLE: no answer" in text
    made.note(Event(11, "poll", 0, "ScalerNotActive", active=False))
    assert made.polled
    assert "asleep" in "\n".join(shown([made], 80))


def test_the_time_to_wake_is_from_the_work_to_the_replica() -> None:
    made = row(replicas=0, woke_seconds=None, arrived=100.0)
    results = (MetricResult("s0-b", "AverageValue", 5.0, 7.0, active=True),)
    made.note(Event(100.4, "push", 1, "ScalerActive", active=True))
    made.note(Event(102.0, "sync", 3, "s0-b above target", results=results))
    assert made.woke_seconds == pytest.approx(0.4)
    assert change_line(made) == "sync: 1 → 3, s0-b above target"
    assert made.metrics["s0-b"] == (7.0, 5.0)


def test_a_pipe_gets_a_line_for_each_change_with_its_cause_and_what_to_do() -> None:
    console = Console(width=40, file=io.StringIO(), force_terminal=False)
    with View(console, "http://127.0.0.1:9/", ["next: read on"]) as view:
        view.update([row()])
        view.update([row()])
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]  # it is the StringIO from above
    assert lines[:2] == ["status page: http://127.0.0.1:9/", "next: read on"]
    assert len(lines) == 3
    assert lines[2].endswith("flux-shard1 push: 0 → 1, ScalerActive; 12345 Kustomizations")


def test_the_picture_is_of_a_recorded_run_that_woke_every_workload() -> None:
    recorded = json.loads(demo_picture.RECORDED.read_text())
    picture = demo_picture.render()
    assert picture == demo_picture.render()
    for each in recorded["rows"]:
        assert each["woke_seconds"] < 5
        assert each["workload"]["name"] in picture
    assert "…" not in picture.replace("&#160;", " ")
