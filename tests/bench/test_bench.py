import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench import accelerated, costs, fleet, memory, replicas, report, rpc, streams, wake
from bench.doubles import Backends, backends
from bench.requests import metadata_with, requests_of
from scaler.pb import externalscaler_pb2 as pb
from scaler.settings import CostSettings

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the processes that the bench starts find it, wherever pytest runs, and keep this one's cores."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    cores = os.sched_getaffinity(0)
    yield
    os.sched_setaffinity(0, cores)


@pytest.fixture
async def doubles() -> Any:
    async with backends(waiting=0) as found:
        yield found


def test_requests_say_the_same_in_several_orders() -> None:
    metadata = metadata_with(200, {"source": "sqs", "queueURL": "orders"})
    requests = requests_of("shop", "orders", metadata, "sqs-orders")
    refs = [pb.ScaledObjectRef.FromString(ref) for ref in requests.refs]
    asked = [pb.GetMetricsRequest.FromString(metric) for metric in requests.metrics]
    assert len(set(requests.refs)) == len(set(requests.metrics)) == 8
    assert all((ref.namespace, ref.name, dict(ref.scalerMetadata)) == ("shop", "orders", metadata) for ref in refs)
    assert len(metadata) == 200
    assert {(each.metricName, each.scaledObjectRef.name) for each in asked} == {("sqs-orders", "orders")}


async def test_rpc_part_measures_both_sides_of_each_ratio() -> None:
    rows = await rpc.measure(rpc.Effort(rounds=1, calls=20, paced_seconds=0.1, rate=100))
    assert [(row["rpc"], row["keys"]) for row in rows] == [
        (method, keys) for keys in rpc.KEYS for method in ("GetMetrics", "IsActive")
    ]
    assert all(row["floor µs"] > 0 and row["scaler µs"] > 0 and row["p99 ratio"] > 0 for row in rows)


async def test_fleet_part_has_every_call_answered() -> None:
    (storm,), (steady,) = await fleet.measure((20,), 2.0)
    assert (storm["RPCs"], storm["failed"]) == (60, 0)
    assert (steady["failed"], steady["streams"]) == (0, 7)
    assert steady["upstream per min"] > 0
    assert [
        row["replicas"] >= 2 for row in costs.sizing([steady, {**steady, "ScaledObjects": 40}], CostSettings())
    ] == [True] * 3


@pytest.mark.bench
async def test_upstream_reads_follow_places() -> None:
    found = await accelerated.upstream(200, 10, minutes=1)
    assert found["reads"] >= 60
    assert found["ratio"] == pytest.approx(1, abs=0.01)


@pytest.mark.bench
async def test_nothing_grows_in_half_an_hour() -> None:
    found = await accelerated.half_hour(100)
    for name in ("remembered", "places", "kB"):
        assert found[f"{name} at the end"] <= 1.1 * found[f"{name} after 20 minutes"]
    assert found["places at the end"] > 0


@pytest.mark.bench
async def test_wake_part_hears_of_every_arrival() -> None:
    rows = await wake.measure(4)
    assert [row["wake-ups"] for row in rows] == [4, 4, 4, 4, 0]
    assert all(0 < row["p99 s"] < 10 for row in rows[:-1])


@pytest.mark.bench
async def test_streams_part(doubles: Backends) -> None:
    idle = await streams.idle(doubles, 12, 6, 0.5)
    assert idle["streams"] == 12
    assert (await streams.restarts(doubles, 1, 5))["streams of each"] == 5


@pytest.mark.bench
async def test_memory_part() -> None:
    rows = await memory.measure(120, quiet_seconds=0.2)
    assert [row["counted"] for row in rows] == [20, 20, 120, 120]


@pytest.mark.bench
async def test_replicas_part_has_no_failed_poll() -> None:
    (row,) = await replicas.measure(1.5)
    assert row["polls"] > 0
    assert row["failed"] == 0


def test_tables_come_between_their_marks(tmp_path: Path) -> None:
    report.write({"rpc": [{"keys": 1, "ratio": 1.08}]}, tmp_path)
    told = report.write({"wake": [{"way": "SQS", "p99 s": None}]}, tmp_path)
    document = tmp_path / "page.md"
    document.write_text(
        "before\n<!-- bench: rpc -->\nold\n<!-- /bench -->\nafter\n<!-- bench: none -->\nkept\n<!-- /bench -->\n"
    )
    assert report.into_documents(tmp_path, [document]) == ["rpc"]
    text = document.read_text()
    assert "<!-- bench: rpc -->\n| keys | ratio |\n| --- | --- |\n| 1 | 1.08 |\n<!-- /bench -->\nafter" in text
    assert "old" not in text
    assert "kept" in text
    assert "## rpc" in told.read_text()
    assert set(json.loads((tmp_path / "latest.json").read_text())) == {"rpc", "wake"}


def test_the_bill_of_a_quick_wake_up() -> None:
    (second,) = (row for row in costs.idle_table(CostSettings()) if row["idleRefreshSeconds"] == 1)
    assert second["requests per month"] == pytest.approx(3_600 * 730 / 0.95)
    assert second["$ per month"] == pytest.approx(second["requests per month"] * 0.4 / 1e6)
