"""Part a: processor time and latency of one RPC on warm readings, against a handler that does nothing."""

import asyncio
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.doubles import backends
from bench.processes import ServerProcess, serving
from bench.report import Found
from bench.requests import ACTIVE, METRICS, Requests, metadata_with, requests_of
from bench.spread import Row, percentile
from bench.wire import Wire

KEYS = (1, 8, 200)
IN_FLIGHT = 64


@dataclass(frozen=True)
class Effort:
    """How much is measured."""

    rounds: int = 7
    calls: int = 3_000
    paced_seconds: float = 2.5
    rate: float = 300.0


Next = Callable[[], tuple[bytes, bytes]]


async def saturate(wire: Wire, calls: int, following: Next) -> None:
    """Make so many calls, `IN_FLIGHT` at a time; raises `RuntimeError` if one fails."""
    left, failed = calls, 0
    over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    pending = 0

    def done(message: bytes | None) -> None:
        nonlocal left, pending, failed
        pending -= 1
        failed += message is None
        if left:
            left, pending = left - 1, pending + 1
            wire.call(*following(), done)
        elif not pending:
            over.set_result(None)

    for _ in range(min(IN_FLIGHT, calls)):
        left, pending = left - 1, pending + 1
        wire.call(*following(), done)
    await over
    if failed:
        raise RuntimeError(f"{failed} of {calls} calls failed")


async def paced(wire: Wire, seconds: float, rate: float, following: Next) -> list[float]:
    """Make calls at random times, `rate` a second; return their latencies in seconds."""
    loop, found = asyncio.get_running_loop(), list[float]()
    failed = 0

    def call() -> None:
        began = time.perf_counter()

        def done(message: bytes | None) -> None:
            nonlocal failed
            failed += message is None
            found.append(time.perf_counter() - began)

        wire.call(*following(), done)

    at, end = loop.time(), loop.time() + seconds
    while (at := at + random.expovariate(rate)) < end:
        await asyncio.sleep(at - loop.time())
        call()
    while wire.pending:  # noqa: ASYNC110 - after the measurement
        await asyncio.sleep(0.01)
    if failed:
        raise RuntimeError(f"{failed} calls failed")
    return found


async def cpu(server: ServerProcess, wire: Wire, calls: int, following: Next) -> float:
    """Make so many calls; return the processor seconds that one of them took."""
    before = (await server.usage())["cpu"]
    await saturate(wire, calls, following)
    return float((await server.usage())["cpu"] - before) / calls


def _calls(requests: Requests, method: str) -> Next:
    if method == "GetMetrics":
        return lambda: (METRICS, requests.metric())
    return lambda: (ACTIVE, requests.ref())


async def measure(effort: Effort) -> Found:
    """Return a row for each method and number of keys: microseconds, milliseconds and ratios with their spread."""
    rows: list[Row] = []
    rounds: list[Row] = []
    async with backends() as doubles, serving("empty") as empty, serving("real", env=doubles.env) as real:
        wires = {"empty": await Wire.open(empty.port), "real": await Wire.open(real.port)}
        for keys in KEYS:
            # The smallest trigger has three keys of its own; a floor with one key is asked with that trigger as well.
            base = {"source": "sqs", "queueURL": "orders", "awsRegion": "eu-west-1"}
            requests = requests_of("shop", "orders", metadata_with(keys, base), "sqs-orders")
            for method in ("GetMetrics", "IsActive"):
                following = _calls(requests, method)
                found = await _rounds(effort, following, {"empty": empty, "real": real}, wires)
                rounds += [{"rpc": method, "keys": keys, **each} for each in found]
                rows.append({"rpc": method, "keys": keys, "runs": len(found), **_row(found)})
        for wire in wires.values():
            wire.close()
    return Found({"rpc": rows}, {"rpc": rounds})


async def _rounds(
    effort: Effort, following: Next, servers: dict[str, ServerProcess], wires: dict[str, Wire]
) -> list[Row]:
    for kind in servers:  # warm up
        await saturate(wires[kind], max(IN_FLIGHT, effort.calls // 4), following)
    rounds = []
    for number in range(effort.rounds):
        found: Row = {}
        for kind in ("empty", "real") if number % 2 else ("real", "empty"):
            found[f"{kind} cpu"] = await cpu(servers[kind], wires[kind], effort.calls, following)
            latencies = await paced(wires[kind], effort.paced_seconds, effort.rate, following)
            found[f"{kind} p99"] = percentile(latencies, 0.99)
        rounds.append(found)
    return rounds


def _row(rounds: Sequence[Row]) -> Row:
    ratios = [each["real cpu"] / each["empty cpu"] for each in rounds]
    middle = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
    return {
        "floor µs": 1e6 * middle["empty cpu"],
        "scaler µs": 1e6 * middle["real cpu"],
        "ratio": statistics.median(ratios),
        "ratio from": min(ratios),
        "ratio to": max(ratios),
        "floor p99 ms": 1e3 * middle["empty p99"],
        "scaler p99 ms": 1e3 * middle["real p99"],
        "p99 ratio": statistics.median(each["real p99"] / each["empty p99"] for each in rounds),
    }
