"""KEDA's two streams over a real socket, from their opening to their end."""

import asyncio
from contextlib import suppress
from typing import Any, Self

import grpc
import pytest

from scaler.core.errors import Unavailable
from scaler.demo.clock import ManualClock
from scaler.demo.scripted import HANG, ScriptedReader, Slow, Spot, Work
from scaler.pb import externalscaler_pb2 as pb
from tests.server.conftest import Code, Serve, failure, round_trip, until

# Streams


async def test_a_stream_tells_active_at_once_at_every_rise_and_in_growing_pauses(
    serve: Serve, reader: ScriptedReader, clock: ManualClock
) -> None:
    async with serve() as keda:
        keda.server.streams._dice = lambda: 0.0
        stream = keda.stub.StreamIsActive(keda.ref(idleRefreshSeconds="60", refreshSeconds="60"))
        first = asyncio.ensure_future(stream.read())
        await until(keda, lambda: len(keda.server.streams) == 1)
        await clock.advance(100)
        await round_trip(keda)
        assert not first.done(), "nothing is sent while inactive"
        reader.answers["a"] = Work(1)
        reader.hint(Spot("a"))
        await clock.advance(0)
        async with asyncio.timeout(10):
            assert await first == pb.IsActiveResponse(result=True)
            for pause in (1, 2, 4, 8, 16, 32, 60, 60):
                following = asyncio.ensure_future(stream.read())
                await round_trip(keda)
                await clock.advance(pause - 0.25)
                await round_trip(keda)
                assert not following.done()
                await clock.advance(0.25)
                assert await following == pb.IsActiveResponse(result=True)
        stream.cancel()
        await until(keda, lambda: len(keda.server.streams) == 0)
        assert len(keda.server.listeners) == 0


@pytest.mark.parametrize("answer", [HANG, Unavailable("down")], ids=["hangs", "is down"])
async def test_a_stream_waits_silently_until_something_is_known(
    serve: Serve, reader: ScriptedReader, clock: ManualClock, answer: Any
) -> None:
    reader.answers["a"] = answer
    async with serve() as keda:
        stream = keda.stub.StreamIsActive(keda.ref())
        first = asyncio.ensure_future(stream.read())
        await reader.asked.wait()
        await clock.advance(100)
        await round_trip(keda)
        assert not first.done()
        reader.answers["a"] = Work(1)
        await clock.advance(21)
        async with asyncio.timeout(10):
            assert (await first).result is True
        stream.cancel()
        await until(keda, lambda: len(keda.server.streams) == 0)


@pytest.mark.parametrize("rpc", ["StreamIsActive", "StreamMetricSpec"])
@pytest.mark.parametrize("work", [0, 1])
async def test_streams_end_normally_before_the_connection_does(
    serve: Serve, reader: ScriptedReader, clock: ManualClock, rpc: str, work: int
) -> None:
    reader.answers["a"] = Work(work)
    async with serve() as keda:
        stream = getattr(keda.stub, rpc)(keda.ref())
        got = asyncio.ensure_future(_all(stream))
        await until(keda, lambda: len(keda.server.streams) == 1)
        await clock.advance(299)
        await round_trip(keda)
        assert not got.done()
        await clock.advance(301)
        async with asyncio.timeout(10):
            assert await stream.code() == Code.OK
            assert bool(await got) == (work == 1 or rpc == "StreamMetricSpec")


async def _all(stream: Any) -> list[Any]:
    return [message async for message in stream]


async def test_specs_are_streamed_again_every_minute_and_are_never_empty(serve: Serve, clock: ManualClock) -> None:
    async with serve() as keda:
        keda.server.streams._dice = lambda: 0.0
        ref = keda.ref(second="3")
        stream, known = keda.stub.StreamMetricSpec(ref), await keda.get_metric_spec(ref)
        async with asyncio.timeout(10):
            assert await stream.read() == known
            for _ in range(3):
                following = asyncio.ensure_future(stream.read())
                await round_trip(keda)
                await clock.advance(59.9)
                await round_trip(keda)
                assert not following.done()
                await clock.advance(0.1)
                assert await following == known
        assert len(known.metricSpecs) == 2
        stream.cancel()
        await until(keda, lambda: len(keda.server.streams) == 0)


async def test_more_streams_than_the_limit_are_refused(serve: Serve) -> None:
    async with serve(limits={"max_streams": 4}) as keda:
        streams = [keda.stub.StreamMetricSpec(keda.ref()) for _ in range(2)]
        for stream in streams:
            await stream.read()
        code, details = await failure(keda.stub.StreamIsActive(keda.ref()).read())
        assert code == Code.RESOURCE_EXHAUSTED
        assert "limits.maxStreams" in details
        other = keda.stub.StreamMetricSpec(keda.ref(namespace="blog"))
        await other.read()
        for stream in streams:
            stream.cancel()
        await until(keda, lambda: len(keda.server.streams) == 1)
        other.cancel()


class Line:
    """A TCP connection to the server that can be cut."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._server: asyncio.Server | None = None
        self._open: list[asyncio.StreamWriter] = []
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()

    def cut(self) -> None:
        for writer in self._open:
            writer.transport.abort()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._to)
        self._open += [writer, back]
        with suppress(ConnectionError):
            await asyncio.gather(self._copy(reader, back), self._copy(there, writer))

    @staticmethod
    async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)


@pytest.mark.parametrize("ending", ["cancels", "is cut off"])
async def test_clients_that_come_and_go_leave_nothing(
    serve: Serve, reader: ScriptedReader, clock: ManualClock, ending: str
) -> None:
    reader.answers |= {"a": Work(1), "b": Slow(1, Work(1))}
    async with serve() as keda:
        for _ in range(3):
            async with (
                Line(keda.server.port) as line,
                grpc.aio.insecure_channel(f"127.0.0.1:{line.port}") as channel,
            ):
                stub = type(keda.stub)(channel)
                opened = [
                    opening(keda.ref(spots, target=str(number % 3 + 1)))
                    for number in range(20)
                    for opening, spots in (
                        (stub.StreamIsActive, "a"),
                        (stub.StreamIsActive, "b"),
                        (stub.StreamMetricSpec, "b"),
                    )
                ]
                await until(keda, lambda: len(keda.server.streams) == 60)
                if ending == "cancels":
                    for stream in opened:
                        stream.cancel()
                else:
                    line.cut()
                await until(keda, lambda: len(keda.server.streams) == 0)
                codes = {await stream.code() for stream in opened}
                assert codes == {Code.CANCELLED if ending == "cancels" else Code.UNAVAILABLE}
        assert len(keda.server.listeners) == 0
        assert all(not who.listeners and who.timer is None for who in keda.server.registry)
        await clock.advance(121)
        assert len(keda.server.snapshots) == 0
