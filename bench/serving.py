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
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import grpc.aio
import uvloop

from scaler.clients.http.names import Names
from scaler.core.clock import SystemClock
from scaler.core.logs import configure
from scaler.pb import externalscaler_pb2 as pb
from scaler.pb import externalscaler_pb2_grpc
from scaler.server import app
from scaler.server.app import Server, grpc_options
from scaler.server.gc_freeze import Garbage
from scaler.settings import Settings

BEAT_SECONDS = 0.005


class EmptyScaler(externalscaler_pb2_grpc.ExternalScalerServicer):  # type: ignore[misc]  # generated without types
    """The floor: grpcio and the generated code parse the request and write a prepared answer; nothing is done between.

    The answers are as long as those of the real server, so that neither side has more to write.
    """

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
        """Say `true` once, and stay open."""
        yield self.ACTIVE
        await asyncio.get_running_loop().create_future()


class EmptyServer:
    """The floor on the options of the real server, to be started and drained like it."""

    def __init__(self, settings: Settings) -> None:
        """Listen where `settings` say; there is no HTTP."""
        self.garbage = Garbage(lambda: 0)
        self._grpc = grpc.aio.server(options=grpc_options(settings))
        externalscaler_pb2_grpc.add_ExternalScalerServicer_to_server(EmptyScaler(), self._grpc)
        self.port, self.http_port = self._grpc.add_insecure_port(settings.listen), 0

    async def start(self) -> None:
        """Serve."""
        await self._grpc.start()

    async def drain(self) -> None:
        """End."""
        await self._grpc.stop(0.2)


class Heart:
    """Notes the longest time for which the event loop was blocked, by how late a timer rings.

    It beats by bare callbacks: a task that sleeps would take twice as much, 1.5 % of a core.
    """

    def __init__(self) -> None:
        """Begin to beat."""
        self.block = self.delay = 0.0
        self._loop = asyncio.get_running_loop()
        self._due, self._waited = time.monotonic(), 0.0
        try:
            self._schedstat = os.open("/proc/self/schedstat", os.O_RDONLY)
        except FileNotFoundError:  # a kernel that does not count it
            self._schedstat = -1
        self._beat()

    def _beat(self) -> None:
        now, before = time.monotonic(), self._waited
        late, self._waited = now - self._due, self._wait_seconds()
        self.delay = max(self.delay, late)
        # A loop that waits for its core, because another process runs there, is not blocked by what it does itself.
        self.block = max(self.block, late - (self._waited - before))
        self._due = now + BEAT_SECONDS
        self._loop.call_later(BEAT_SECONDS, self._beat)

    def _wait_seconds(self) -> float:
        """Return how long the loop's thread was ready to run and did not, so far."""
        return int(os.pread(self._schedstat, 64, 0).split()[1]) / 1e9 if self._schedstat >= 0 else 0.0

    def reset(self) -> None:
        """Forget the longest."""
        self.block = self.delay = 0.0


def usage(heart: Heart) -> dict[str, float]:
    """Return what this process has used: processor seconds, bytes of memory, and the longest block since the last time.

    `at` is on the clock that all processes of the machine share; `delay` is `block` and the wait for the core.
    """
    with open("/proc/self/statm") as statm:  # noqa: PTH123 - a file of the kernel
        pages = int(statm.read().split()[1])
    block, delay = heart.block, heart.delay
    heart.reset()
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "at": time.monotonic(),
        "cpu": used.ru_utime + used.ru_stime,
        "rss": pages * os.sysconf("SC_PAGE_SIZE"),
        "block": block,
        "delay": delay,
        "tasks": len(asyncio.all_tasks()),
    }


def house(server: Server) -> dict[str, Any]:
    """Return what the server holds: ScaledObjects, places, leases, streams, and the requests that it has sent."""
    requests = {
        sample.labels["backend"] + " " + sample.labels["operation"]: sample.value
        for family in server.metrics.registry.collect()
        if family.name == "queue_scaler_upstream_requests"
        for sample in family.samples
        if sample.name.endswith("_total")
    }
    return {
        "askers": len(server.registry),
        "places": len(server.snapshots),
        "leases": sum(status.lessees for status in server.snapshots.statuses()),
        "streams": len(server.streams),
        "requests": requests,
    }


async def _answer_lines(heart: Heart, server: Server | EmptyServer) -> None:
    """Answer `usage`, `house` (which costs more) and `collect` (garbage first), until there is no parent."""
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        if line == b"collect\n":
            gc.collect()
        told: dict[str, Any] = usage(heart)
        if line == b"house\n" and isinstance(server, Server):
            told |= house(server)
            await asyncio.sleep(2 * BEAT_SECONDS)
            heart.reset()  # it was the question that took so long
        print(json.dumps(told), flush=True)  # noqa: T201 - the protocol with the parent


async def main(kind: str, settings: Settings) -> None:
    """Serve until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    configure("error", "json")
    heart = Heart()
    if name_server := os.environ.get("BENCH_NAME_SERVER"):
        setattr(app, "Names", partial(Names, servers=[name_server]))  # noqa: B010 - not those of the machine; no type fits
    server = Server(settings, SystemClock()) if kind == "real" else EmptyServer(settings)
    await server.start()
    server.garbage.settle()  # as `scaler serve` does; both, because both have imported the same
    asking = asyncio.create_task(_answer_lines(heart, server))
    asking.add_done_callback(lambda _: stop.set())  # one that has failed is told below, not waited for in vain
    print(json.dumps({"port": server.port, "http": server.http_port}), flush=True)  # noqa: T201 - see above
    await stop.wait()
    await server.drain()
    if asking.done():
        asking.result()
    asking.cancel()


if __name__ == "__main__":
    told = Settings(**json.loads(sys.argv[2]))
    if sys.argv[1:4][2:] == ["asyncio"]:
        asyncio.run(main(sys.argv[1], told))
    else:
        uvloop.run(main(sys.argv[1], told))
