"""The server under measurement, in a process of its own: `python -m bench.serving empty|real SETTINGS`.

It prints its ports as a line of JSON, and answers every line on standard input with a line of what it has used so far.
"""

import asyncio
import gc
import json
import os
import resource
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc.aio
import uvloop

from scaler.clock import SystemClock
from scaler.observe.logs import configure
from scaler.pb import externalscaler_pb2 as pb
from scaler.pb import externalscaler_pb2_grpc
from scaler.server import Server, grpc_options
from scaler.settings import Settings

BEAT_SECONDS = 0.005


class EmptyScaler(externalscaler_pb2_grpc.ExternalScalerServicer):  # type: ignore[misc]  # generated without types
    """The floor: grpcio parses the request, and a prepared message goes back."""

    SPECS = pb.GetMetricSpecResponse(
        metricSpecs=[pb.MetricSpec(metricName="sqs-orders", targetSize=5, targetSizeFloat=5.0)]
    )
    METRICS = pb.GetMetricsResponse(
        metricValues=[pb.MetricValue(metricName="sqs-orders", metricValue=12, metricValueFloat=12.0)]
    )
    ACTIVE = pb.IsActiveResponse(result=True)

    async def GetMetricSpec(self, _request: Any, _context: Any) -> Any:  # noqa: N802 - the service's name for it
        """Answer what is prepared."""
        return self.SPECS

    async def GetMetrics(self, _request: Any, _context: Any) -> Any:  # noqa: N802 - see above
        """Answer what is prepared."""
        return self.METRICS

    async def IsActive(self, _request: Any, _context: Any) -> Any:  # noqa: N802 - see above
        """Answer what is prepared."""
        return self.ACTIVE

    async def StreamIsActive(self, _request: Any, _context: Any) -> AsyncIterator[Any]:  # noqa: N802 - see above
        """Say nothing, and stay open."""
        await asyncio.get_running_loop().create_future()
        yield self.ACTIVE


class Heart:
    """Notes the longest time for which the event loop was blocked: how late a timer rang."""

    def __init__(self) -> None:
        """Begin to beat."""
        self.longest = 0.0
        self._task = asyncio.get_running_loop().create_task(self._beat())

    async def _beat(self) -> None:
        while True:
            due = time.monotonic() + BEAT_SECONDS
            await asyncio.sleep(BEAT_SECONDS)
            self.longest = max(self.longest, time.monotonic() - due)


def usage(heart: Heart) -> dict[str, float]:
    """Return what this process has used: processor seconds, bytes of memory, and the longest block since the last time."""
    with open("/proc/self/statm") as statm:  # noqa: PTH123 - a file of the kernel
        pages = int(statm.read().split()[1])
    longest, heart.longest = heart.longest, 0.0
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "cpu": used.ru_utime + used.ru_stime,
        "rss": pages * os.sysconf("SC_PAGE_SIZE"),
        "block": longest,
        "tasks": len(asyncio.all_tasks()),
    }


def house(server: Server) -> dict[str, Any]:
    """Return what the server holds: askers, places, leases, streams, and the requests that it has sent."""
    requests = {
        sample.labels["backend"] + " " + sample.labels["operation"]: sample.value
        for family in server.metrics.registry.collect()
        if family.name == "queue_scaler_upstream_requests"
        for sample in family.samples
        if sample.name.endswith("_total")
    }
    return {
        "askers": len(server.objects),
        "places": len(server.snapshots),
        "leases": sum(status.lessees for status in server.snapshots.statuses()),
        "streams": len(server.streams),
        "requests": requests,
    }


async def _answer_lines(heart: Heart, server: Server | None) -> None:
    """Answer `usage`, `house` (which costs more) and `collect` (garbage first) until standard input ends."""
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        if line == b"collect\n":
            gc.collect()
        told: dict[str, Any] = usage(heart)
        if line == b"house\n" and server is not None:
            told |= house(server)
            await asyncio.sleep(2 * BEAT_SECONDS)
            heart.longest = 0.0  # not its own
        print(json.dumps(told), flush=True)  # noqa: T201 - the protocol with the parent


async def main(kind: str, settings: Mapping[str, Any]) -> None:
    """Serve until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    heart = Heart()
    if kind == "real":
        configure("error", "json")
        real = Server(Settings(**settings), SystemClock())
        await real.start()
        gc.collect()
        gc.freeze()  # as `scaler serve` does
        asking = asyncio.create_task(_answer_lines(heart, real))
        print(json.dumps({"port": real.port, "http": real.http_port}), flush=True)  # noqa: T201 - see above
        await stop.wait()
        await real.drain()
    else:
        empty = grpc.aio.server(options=grpc_options(Settings()))
        externalscaler_pb2_grpc.add_ExternalScalerServicer_to_server(EmptyScaler(), empty)
        port = empty.add_insecure_port("127.0.0.1:0")
        await empty.start()
        asking = asyncio.create_task(_answer_lines(heart, None))
        print(json.dumps({"port": port, "http": 0}), flush=True)  # noqa: T201 - see above
        await stop.wait()
        await empty.stop(1)
    asking.cancel()


if __name__ == "__main__":
    settings = json.loads(sys.argv[2])
    if sys.argv[1:4][2:] == ["asyncio"]:
        asyncio.run(main(sys.argv[1], settings))
    else:
        uvloop.run(main(sys.argv[1], settings))
