import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench import accelerated, attacks, costs, fleet, memory, replicas, report, rpc, start, steady, storm, streams, wake
from bench.doubles import Backends, backends
from bench.processes import serving
from bench.report import Found
from bench.requests import metadata_with, orders_of, requests_of
from bench.spread import percentile, ratios, spread
from bench.wire import Wire
from scaler.pb import externalscaler_pb2 as pb
from scaler.sources.sqs.prices import CostSettings

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
SMALLEST = streams.Effort(
    streams=12, places=6, windows=1, window_seconds=0.5, arrivals=1, clients=1, streams_each=5, ends=1
)


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
    assert len(set(requests.refs)) == len(set(requests.metrics)) == 256
    assert [orders_of(keys) for keys in (1, 8, 9, 14, 15, 200)] == [8, 8, 16, 16, 32, 256]
    assert all((ref.namespace, ref.name, dict(ref.scalerMetadata)) == ("shop", "orders", metadata) for ref in refs)
    assert len(metadata) == 200
    assert {(each.metricName, each.scaledObjectRef.name) for each in asked} == {("sqs-orders", "orders")}


def test_spreads() -> None:
    assert percentile([*range(1, 101)], 0.99) == 100
    assert spread([3, 1, 2]) == {"median": 2, "from": 1, "to": 3}
    assert ratios([{"s": 2}, {"s": 6}], [{"s": 1}, {"s": 2}], "s") == {"median": 2.5, "from": 2, "to": 3}


async def test_rpc_part_measures_both_sides_of_each_ratio() -> None:
    found = await rpc.measure(rpc.Effort(rounds=1, calls=20, paced_seconds=0.1, rate=100))
    rows = found.tables["rpc"]
    assert [(row["rpc"], row["keys"]) for row in rows] == [
        (method, keys) for keys in rpc.KEYS for method in ("GetMetrics", "IsActive")
    ]
    assert all(row["runs"] == 1 and row["floor µs"] > 0 and row["scaler µs"] > 0 for row in rows)
    assert len(found.rounds["rpc"]) == len(rows)


@pytest.mark.slow
async def test_fleet_part_has_every_call_answered_by_both() -> None:
    found = await fleet.measure(fleet.Effort(sizes=(20,), rounds=1, seconds=2.0, settle_seconds=0.5))
    (row,), (rule,), (need,) = (found.tables[name] for name in ("fleet", "built-in rule", "processes"))
    assert (row["failed"], need["streams"], need["the scaler took"]) == (0, 7, 1)
    assert rule["built-in per min"] == 20 * 6
    assert row["ratio"]["median"] == row["core %"] / row["floor core %"]
    assert {each["server"] for each in found.rounds["fleet"]} == {"empty", "real"}
    assert all(each["RSS MB"] > 10 for each in found.rounds["fleet"])


async def test_storm_part_has_every_call_answered() -> None:
    found = await storm.measure((20,), runs=1)
    (row,) = found.tables["storm"]
    assert (row["RPCs"], row["failed"], row["runs"]) == (60, 0, 1)


def _rounds(size: int, core: float, answered: float = 1.0) -> list[dict[str, Any]]:
    rate = 0.3 * size
    common = {"ScaledObjects": size, "asked RPC/s": rate, "failed": 0, "broken streams": 0, "streams": size // 3}
    common |= {"places": 50, "p50 ms": 1.0, "p99 ms": 2.0, "longest block ms": 3.0, "upstream per min": 300.0}
    return [
        common
        | {"server": kind, "core %": each, "RPC/s": rate * share, "µs per RPC": each / rate * 1e4, "RSS MB": 90.0}
        for kind, each, share in (("empty", core, 1.0), ("real", 2 * core, answered))
    ]


def test_how_a_fleet_grows_and_what_it_needs() -> None:
    told = steady.tables([*_rounds(100, 2.0), *_rounds(10_000, 50.0)])
    grown = {row["quantity"]: row for row in told["growth"]}
    assert (grown["core %"]["at 100"], grown["core %"]["at 10,000"]) == (4.0, 100.0)
    assert grown["core %"]["for each 1,000 more"] == pytest.approx(96 / 9.9)
    assert grown["upstream per min"]["exponent"] == 0
    assert grown["RPC/s"]["exponent"] == pytest.approx(1)
    need = told["processes"][1]
    assert (need["offered RPC/s"], need["the floor asks for"], need["the scaler took"]) == (3_000, 1, 1)
    assert told["built-in rule"][1]["ratio"]["median"] == 300 / 60_000
    assert [row["replicas"] >= 2 for row in told["sizing"]] == [True] * 3


def test_a_process_that_leaves_calls_unanswered_is_not_enough() -> None:
    (need,) = steady.tables(_rounds(10_000, 110.0, answered=0.7))["processes"]
    assert (need["the floor asks for"], need["the scaler took"]) == (2, 3)


@pytest.mark.bench
async def test_a_server_that_is_paused_answers_when_it_runs_again() -> None:
    async with serving("empty") as server:
        wire = await Wire.open(server.port)
        before = await server.usage()
        server.pause()
        server.resume()
        assert (await server.usage())["at"] > before["at"]
        server.pause()
        wire.close()
    assert server.process.returncode == 0


@pytest.mark.bench
async def test_upstream_reads_follow_places() -> None:
    found = await accelerated.upstream(200, 10, minutes=1)
    assert found["reads"] >= 60
    assert found["ratio"] == pytest.approx(1, abs=0.01)


@pytest.mark.bench
async def test_nothing_grows_in_half_an_hour() -> None:
    rows = await accelerated.half_hour(400)
    assert [row["minutes"] for row in rows] == [30, 40, 50, 60]
    first, last = rows[0], rows[-1]
    assert first["ScaledObjects remembered"] == last["ScaledObjects remembered"] == 400
    assert first["places"] == last["places"] == 20
    assert last["memory blocks"] <= 1.05 * first["memory blocks"]


@pytest.mark.bench
async def test_wake_part_hears_of_every_arrival() -> None:
    found = await wake.measure(4, shards=2, poll_seconds=1)
    rows = found.tables["wake"]
    assert [row["wake-ups"] for row in rows] == [4, 4, 4, 4]
    assert all(0 < row["p99 s"] < 10 and 0 < row["KEDA's poll p99 s"] < 3 for row in rows)
    assert [len(each["polled s"]) for each in found.rounds["wake"]] == [4, 4, 4, 4]


@pytest.mark.bench
async def test_streams_part(doubles: Backends) -> None:
    row, windows = await streams.idle(doubles, SMALLEST)
    assert (row["streams"], row["silent or broken"], len(windows)) == (12, 0, 1)
    assert row["heard"] == 2 * len({"sqs", "sidekiq"})  # places 0 to 5 are of two kinds, with two streams each
    assert 0 < row["latest, intervals"] < 10
    assert (await streams.restarts(doubles, 1, 5))["streams of each"] == 5
    end = await streams.ends(doubles, 12, 1)
    assert (end["ended OK"], end["exit code"]) == (12, 0)


@pytest.mark.bench
async def test_memory_part() -> None:
    effort = memory.Effort(scaled_objects=120, on_places=20, others=20, runs=1, quiet_seconds=0.2)
    rows = (await memory.measure(effort)).tables["memory"]
    assert [row["counted"] for row in rows] == [100, 20, 20, 20]


@pytest.mark.bench
async def test_start_part_tells_what_an_idle_process_is_made_of() -> None:
    tables = (await start.measure(start.Effort(runs=1, quiet_seconds=0.1))).tables
    (row,), layers = tables["start"], tables["start layers"]
    assert (layers[-1]["with"], layers[-1]["RSS MB"]) == (start.WHOLE, row["RSS MB"])
    assert sum(layer["more MB"] for layer in layers) == pytest.approx(row["RSS MB"]["median"])
    assert all(layer["more MB"] > 0 for layer in layers)


@pytest.mark.bench
async def test_replicas_part_has_no_failed_poll() -> None:
    (row,) = (await replicas.measure(1.5)).tables["replicas"]
    assert row["polls"] > 0
    assert row["failed"] == 0


@pytest.mark.bench
async def test_attacks_part_loses_no_answer_of_others() -> None:
    found = await attacks.measure(3.0, 0.02)
    rows = found.tables["attacks"]
    assert len(rows) == len(attacks.attacks())
    assert [row["lost"] for row in rows] == [0] * len(rows)
    assert all(row["peak MB"] < 512 and row["p50 ms"] > 0 for row in rows)
    by_backend = dict(zip((each.backend for each in attacks.attacks()), rows, strict=True))
    for attack in attacks.attacks():  # an attack that fails for another reason than it should proves nothing
        if attack.triggers and attack.backend != "pages":  # which takes longer than this run
            ended = "answers" if attack.healthy else "errors"
            assert by_backend[attack.backend][f"attacker's {ended}"] > 0, attack.name
    assert by_backend["processes"]["attacker's errors"] == by_backend["retries"]["attacker's errors"] == 0


def test_tables_come_between_their_marks(tmp_path: Path) -> None:
    cell = {"median": 1.08, "from": 1.0, "to": 150.0}
    report.write(Found({"built-in rule": [{"keys": 1, "ratio": cell}]}, {"built-in rule": [{"ratio": 1.0}]}), tmp_path)
    told = report.write(Found({"wake": [{"way": "SQS", "p99 s": None}]}), tmp_path)
    document = tmp_path / "page.md"
    document.write_text(
        "before\n<!-- bench: built-in rule -->\nold\n<!-- /bench -->\nafter\n"
        "<!-- bench: none -->\nkept\n<!-- /bench -->\n"
    )
    assert report.into_documents(tmp_path, [document]) == ["built-in rule"]
    text = document.read_text()
    assert (
        "<!-- bench: built-in rule -->\n| keys | ratio |\n| --- | --- |\n| 1 | 1.08 (1 to 150) |\n<!-- /bench -->"
        in text
    )
    assert "old" not in text
    assert "kept" in text
    assert "## built-in rule" in told.read_text()
    kept = json.loads((tmp_path / "latest.json").read_text())
    assert set(kept["tables"]) == {"built-in rule", "wake"}
    assert kept["rounds"] == {"built-in rule": [{"ratio": 1.0}]}


def test_the_bill_of_a_quick_wake_up() -> None:
    (second,) = (row for row in costs.idle_table(CostSettings()) if row["idleRefreshSeconds"] == 1)
    assert second["requests per month"] == pytest.approx(3_600 * 730 / 0.95)
    assert second["$ per month"] == pytest.approx(second["requests per month"] * 0.4 / 1e6)
