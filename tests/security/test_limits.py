"""Floods: what one client can make the process hold, and that others are served all the same.

By default a flood of some thousand against limits that are as much smaller; `SCALER_FULL_FLOOD=1` sends a million
metadata maps and 10,000 streams to a server with the limits that it has by default.
"""

import asyncio
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio
import psutil
import pytest
from grpc import StatusCode as Code

from scaler.demo.scripted import ScriptedReader, Work
from scaler.demo.valkey import free_port
from scaler.pb import externalscaler_pb2 as pb
from scaler.pb.externalscaler_pb2_grpc import ExternalScalerStub
from scaler.server.request_cache import CACHE_BYTES, REQUEST_BYTES
from scaler.settings import LimitSettings

pytestmark = pytest.mark.slow

FULL = bool(os.environ.get("SCALER_FULL_FLOOD"))
DEFAULTS = {
    "objects": LimitSettings().max_scaled_objects,
    "streams": LimitSettings().max_streams,
    "places": LimitSettings().max_places,
    "bytes": LimitSettings().max_metadata_total_bytes,
}
LIMITS = DEFAULTS if FULL else {name: limit * 4 // 50 for name, limit in DEFAULTS.items()}
MAPS, STREAMS = (1_000_000, 10_000) if FULL else (4_500, 1_000)
MEMORY_BYTES = 512 << 20
AT_ONCE = 100
WARM = 300
"""Calls before memory is measured, so that what is loaded or allocated once is not counted as each one's."""


async def refusal(call: Any) -> tuple[Code, str]:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return error.value.code(), str(error.value.details())


# Each limit, and whose it is


@pytest.mark.parametrize(
    ("limits", "setting", "spots"),
    [
        pytest.param({"max_scaled_objects": 4}, "limits.maxScaledObjects", ["a"], id="scaled objects"),
        pytest.param({"max_places": 4}, "limits.maxPlaces", ["a"], id="places"),
        pytest.param({"max_metadata_total_bytes": 1_000}, "limits.maxMetadataTotalBytes", ["a" * 200], id="metadata"),
    ],
)
async def test_a_namespace_that_takes_all_it_can_leaves_room_for_others(
    serve: Callable[..., Any], limits: dict[str, int], setting: str, spots: list[str]
) -> None:
    async with serve(limits=limits) as keda:
        refs = [keda.ref(f"{spot}{number}", namespace="greedy") for number in range(20) for spot in spots]
        outcomes = await asyncio.gather(*map(keda.get_metrics, refs), return_exceptions=True)
        refused = [error for error in outcomes if isinstance(error, grpc.aio.AioRpcError)]
        assert 0 < len(outcomes) - len(refused) < 4
        assert {error.code() for error in refused} == {Code.RESOURCE_EXHAUSTED}
        assert all(setting in str(error.details()) for error in refused)
        assert "namespace greedy has reached its share" in str(refused[0].details())
        assert await keda.value(keda.ref("mine", namespace="modest")) == 0


async def test_streams_of_one_namespace_leave_room_for_others(serve: Callable[..., Any]) -> None:
    async with serve(limits={"max_streams": 4}) as keda:
        held = [keda.stub.StreamMetricSpec(keda.ref(f"a{number}", namespace="greedy")) for number in range(2)]
        for stream in held:
            await stream.read()
        for method in (keda.stub.StreamIsActive, keda.stub.StreamMetricSpec):
            code, said = await refusal(method(keda.ref("a3", namespace="greedy")).read())
            assert (code, "limits.maxStreams" in said) == (Code.RESOURCE_EXHAUSTED, True)
        modest = keda.stub.StreamMetricSpec(keda.ref("b", namespace="modest"))
        assert (await modest.read()).metricSpecs
        for stream in (*held, modest):
            stream.cancel()


async def test_what_was_forgotten_is_free_again(serve: Callable[..., Any], clock: Any, reader: ScriptedReader) -> None:
    reader.answers = {f"a{number}": Work(number) for number in range(40)}
    async with serve(limits={"max_places": 8, "max_scaled_objects": 8, "max_metadata_total_bytes": 1_000}) as keda:
        for number in range(40):
            assert await keda.value(keda.ref(f"a{number}")) == number
            await clock.advance(1_000)  # longer than leases and memory last
        assert len(keda.server.snapshots) <= 1


async def test_a_message_that_is_too_large_is_not_read(serve: Callable[..., Any]) -> None:
    async with serve(limits={"max_metadata_bytes": 1_000}) as keda:
        before = psutil.Process().memory_info().rss
        code, said = await refusal(keda.get_metrics(keda.ref("a" * (3 << 20))))
        assert (code, "larger than max" in said) == (Code.RESOURCE_EXHAUSTED, True)
        assert psutil.Process().memory_info().rss - before < 64 << 20


# Floods


class Flooded:
    """`scaler serve` in a process of its own, and two clients of it: one floods, one only wants to be served."""

    def __init__(self, port: int, process: asyncio.subprocess.Process) -> None:
        self.port = port
        self._process = psutil.Process(process.pid)

    @property
    def memory(self) -> int:
        return int(self._process.memory_info().rss)

    def channel(self) -> grpc.aio.Channel:
        # A channel of its own, or grpc would share one connection among all.
        return grpc.aio.insecure_channel(f"127.0.0.1:{self.port}", options=[("grpc.use_local_subchannel_pool", 1)])


@pytest.fixture
def flooded() -> Callable[[], Any]:
    @asynccontextmanager
    async def serving() -> AsyncIterator[Flooded]:
        port = free_port()
        env = os.environ | {
            "SCALER_LISTEN": f"127.0.0.1:{port}",
            "SCALER_HTTP": "127.0.0.1:0",
            "SCALER_DRAIN__WAIT_SECONDS": "0",
            "SCALER_LIMITS__REQUESTS_PER_SECOND__PAGES": "2000",  # all of them are on one host
            "MALLOC_ARENA_MAX": "1",  # as the image sets it
            "SCALER_LIMITS__MAX_SCALED_OBJECTS": str(LIMITS["objects"]),
            "SCALER_LIMITS__MAX_STREAMS": str(LIMITS["streams"]),
            "SCALER_LIMITS__MAX_PLACES": str(LIMITS["places"]),
            "SCALER_LIMITS__MAX_METADATA_TOTAL_BYTES": str(LIMITS["bytes"]),
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", "from scaler.cli import main; main()", "serve", "--log-level", "error", env=env
        )
        try:
            made = Flooded(port, process)
            async with made.channel() as channel:
                await asyncio.wait_for(channel.channel_ready(), 30)
            yield made
        finally:
            process.kill()
            await process.wait()

    return serving


def ref(namespace: str, number: int, path: str = "") -> pb.ScaledObjectRef:
    # Nobody listens there, so that every read is a fault at once, and is tried again.
    return pb.ScaledObjectRef(
        name=f"o-{number}",
        namespace=namespace,
        scalerMetadata={"source": "workqueue", "queues": "q", "metricsURL": f"http://127.0.0.1:1/{path}{number}"},
    )


async def in_turns(count: int, call: Callable[[int], Any]) -> Counter[str]:
    """Make `count` calls, `AT_ONCE` at a time; return how many ended how."""
    ended: Counter[str] = Counter()
    numbers = iter(range(count))

    async def work() -> None:
        for number in numbers:
            try:
                await call(number)
                ended["OK"] += 1
            except grpc.aio.AioRpcError as error:
                ended[error.code().name] += 1

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    return ended


@pytest.mark.timeout(7_200 if FULL else 300)
@pytest.mark.parametrize(
    ("namespaces", "padding"),
    [(1, 0), (97, 0), (97, 400)],
    ids=["one namespace", "made-up namespaces", "long metadata"],
)
async def test_a_flood_of_metadata_maps_stays_within_the_memory_limit(
    flooded: Callable[[], Any], namespaces: int, padding: int
) -> None:
    async with flooded() as server, server.channel() as channel, server.channel() as other:
        flood, modest = ExternalScalerStub(channel), ExternalScalerStub(other)

        def ask(number: int) -> Any:
            # A long URL is kept in the metadata, in the place, and in what its fault says.
            return flood.IsActive(ref(f"greedy-{number % namespaces}", number, "x" * padding))

        ended = await in_turns(WARM, ask)
        # What requests mean is kept by their bytes up to a limit of its own, which is filled before memory is measured.
        spell = channel.unary_unary("/externalscaler.ExternalScaler/IsActive")
        unknown = [b"\x78" + bytes([128 | number & 127, number >> 7]) for number in range(1 << 14)]  # a field 15
        raw = ref("greedy-0", 0, "x" * padding).SerializeToString()
        spellings = CACHE_BYTES // (len(raw) + REQUEST_BYTES)
        assert (await in_turns(spellings, lambda number: spell(raw + unknown[number % len(unknown)])))["OK"] == 0
        at_first = server.memory
        ended += await in_turns(MAPS, lambda number: ask(WARM + number))
        kept = ended["UNAVAILABLE"]  # nobody listens there
        per_object = (server.memory - at_first) / (kept - WARM)
        before_more = server.memory
        more = max(1_000, MAPS // 10)
        ended += await in_turns(more, lambda number: ask(WARM + MAPS + number))
        print(  # noqa: T201 - a measurement
            f"{sum(ended.values())} maps: {dict(ended)}, {per_object:.0f} bytes each that is kept, {server.memory} in all"
        )
        # One namespace gets half, n of them n parts of n + 1.
        assert kept == pytest.approx(LIMITS["objects"] * namespaces / (namespaces + 1), rel=0.05)
        assert ended["RESOURCE_EXHAUSTED"] >= more
        assert server.memory - before_more < 24 << 20, "refused maps are held on to"
        assert at_first + per_object * DEFAULTS["objects"] < MEMORY_BYTES, "whoever asks, and by whatever name"
        # The namespace beside it is served at once.
        spec = await asyncio.wait_for(modest.GetMetricSpec(ref("modest", 1)), 1)
        assert spec.metricSpecs[0].metricName == "workqueue-q"


@pytest.mark.timeout(7_200 if FULL else 300)
async def test_a_flood_of_streams_stays_within_the_memory_limit(flooded: Callable[[], Any]) -> None:
    async with flooded() as server, server.channel() as channel, server.channel() as other:
        flood, modest = ExternalScalerStub(channel), ExternalScalerStub(other)
        held: list[Any] = []

        async def open_stream(number: int) -> None:
            stream = flood.StreamMetricSpec(ref("greedy", number % 100))
            assert (await stream.read()) is not grpc.aio.EOF
            held.append(stream)

        ended = await in_turns(WARM, open_stream)
        at_first = server.memory
        ended += await in_turns(STREAMS - WARM, open_stream)
        per_stream = (server.memory - at_first) / (len(held) - WARM)
        print(f"{STREAMS} streams: {dict(ended)}, {per_stream:.0f} bytes each that is open")  # noqa: T201 - a measurement
        assert ended["RESOURCE_EXHAUSTED"] == max(0, STREAMS - LIMITS["streams"] // 2)
        assert at_first + per_stream * 10_000 < MEMORY_BYTES
        stream = modest.StreamMetricSpec(ref("modest", 1))
        assert (await asyncio.wait_for(stream.read(), 1)).metricSpecs
        for opened in (*held, stream):
            opened.cancel()
