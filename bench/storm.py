"""Part c: all ScaledObjects at once on a server that has just started, as after a restart of KEDA and the scaler."""

import time
from collections.abc import Sequence

from bench.doubles import Backends, backends
from bench.fleet import PLACES, SETTINGS
from bench.keda import Keda
from bench.processes import serving
from bench.report import Found
from bench.requests import Trigger, fleet
from bench.spread import Row, percentile, ratios, spreads
from bench.wire import Wire


async def measure(sizes: Sequence[int], runs: int) -> Found:
    """Return a row for each size; each run has a fresh empty handler and a fresh scaler, one after the other."""
    rows, rounds = [], []
    async with backends() as doubles:
        await doubles.fill(PLACES)
        for size in sizes:
            triggers = fleet(size, min(size, PLACES), doubles.doubles)
            found: dict[str, list[Row]] = {"empty": [], "real": []}
            for number in range(runs):
                for kind in ("empty", "real") if number % 2 else ("real", "empty"):
                    found[kind].append(await _storm(kind, triggers, doubles))
            rows.append(_row(size, found["empty"], found["real"]))
            rounds += [{"ScaledObjects": size, "server": kind, **each} for kind in found for each in found[kind]]
    return Found({"storm": rows}, {"storm": rounds})


async def _storm(kind: str, triggers: Sequence[Trigger], doubles: Backends) -> Row:
    """Poll all at once, with no reading known."""
    async with serving(kind, SETTINGS, doubles.env) as server:
        wire = await Wire.open(server.port)
        keda, before, began = Keda(wire), await server.usage(), time.perf_counter()
        for trigger in triggers:
            keda.chain(trigger)
        await keda.quiet()
        seconds, after = time.perf_counter() - began, await server.usage()
        wire.close()
    return {
        "RPCs": keda.outcome.calls,
        "failed": keda.outcome.failed,
        "seconds": seconds,
        "CPU s": after["cpu"] - before["cpu"],
        "p50 ms": 1e3 * percentile(keda.outcome.latencies, 0.5),
        "p99 ms": 1e3 * percentile(keda.outcome.latencies, 0.99),
        "longest block ms": 1e3 * after["block"],
        "longest delay ms": 1e3 * after["delay"],
    }


def _row(size: int, floor: Sequence[Row], real: Sequence[Row]) -> Row:
    measured = spreads(real, "seconds", "CPU s", "p50 ms", "p99 ms", "longest block ms")
    beside = {f"floor's {name}": cell for name, cell in spreads(floor, "seconds", "CPU s", "longest block ms").items()}
    return {
        "ScaledObjects": size,
        "runs": len(real),
        "RPCs": real[0]["RPCs"],
        "failed": sum(each["failed"] for each in (*real, *floor)),
        "floor's seconds": beside["floor's seconds"],
        "seconds": measured["seconds"],
        "floor's CPU s": beside["floor's CPU s"],
        "CPU s": measured["CPU s"],
        "ratio": ratios(real, floor, "CPU s"),
        "p50 ms": measured["p50 ms"],
        "p99 ms": measured["p99 ms"],
        "floor's longest block ms": beside["floor's longest block ms"],
        "longest block ms": measured["longest block ms"],
    }
