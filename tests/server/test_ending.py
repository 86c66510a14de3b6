"""How the server ends, within this process and as one of its own."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import aiohttp
import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from scaler.core.errors import SettingsError
from scaler.demo.clock import ManualClock
from scaler.demo.scripted import ScriptedReader, Slow, Work
from scaler.pb import externalscaler_pb2 as pb
from scaler.pb.externalscaler_pb2_grpc import ExternalScalerStub
from scaler.server.app import Server
from scaler.settings import Settings
from tests.server.conftest import NAME, Health, Serve, health, http


async def test_a_drain_goes_step_by_step(serve: Serve, reader: ScriptedReader, clock: ManualClock) -> None:
    reader.answers["a"] = Work(1)
    async with serve() as keda, http(keda) as get:
        watch = health_pb2_grpc.HealthStub(keda.channel).Watch(health_pb2.HealthCheckRequest(service=NAME))
        streams = [keda.stub.StreamIsActive(keda.ref()), keda.stub.StreamMetricSpec(keda.ref())]
        async with asyncio.timeout(20):
            assert (await watch.read()).status == Health.SERVING
            for stream in streams:
                await stream.read()

            drain = asyncio.create_task(keda.server.drain())
            assert (await watch.read()).status == Health.NOT_SERVING
            assert await get("/readyz") == (503, "draining\n")
            assert (await get("/healthz"))[0] == 200
            assert await health(keda) == Health.NOT_SERVING
            await clock.advance(1.9)
            await keda.get_metrics(keda.ref())
            assert not any(stream.done() for stream in streams), "it still serves, until nobody new is sent here"
            late = keda.stub.StreamMetricSpec(keda.ref())
            await late.read()

            await clock.advance(0.1)
            for stream in (*streams, late):
                while await stream.read() is not grpc.aio.EOF:
                    pass
                assert await stream.code() == grpc.StatusCode.OK
            await drain
        assert reader.closed
        assert len(keda.server.streams) == 0
        with pytest.raises(grpc.aio.AioRpcError):
            await keda.get_metrics(keda.ref())
        with pytest.raises(aiohttp.ClientConnectionError):
            await get("/healthz")


async def test_calls_that_are_under_way_are_answered(serve: Serve, reader: ScriptedReader, clock: ManualClock) -> None:
    reader.answers["a"] = Slow(1, Work(7))
    async with serve(drain={"wait_seconds": 0, "grace_seconds": 5}) as keda:
        call = asyncio.ensure_future(keda.value(keda.ref()))
        await reader.asked.wait()
        drain = asyncio.create_task(keda.server.drain())
        async with asyncio.timeout(20):
            for _ in range(4):
                await clock.advance(0.2)  # a moment without calls
            assert not await _serves(keda)
            await clock.advance(1)
            assert await call == 7
            await drain


async def test_callers_that_never_pause_have_every_call_answered(serve: Serve, clock: ManualClock) -> None:
    async with serve(drain={"wait_seconds": 0, "grace_seconds": 5}) as keda:
        ended: Counter[grpc.StatusCode] = Counter()

        async def call_on_and_on() -> None:
            try:
                while True:
                    await keda.get_metrics(keda.ref())
            except grpc.aio.AioRpcError as error:
                ended[error.code()] += 1

        callers = [asyncio.create_task(call_on_and_on()) for _ in range(50)]
        await asyncio.sleep(0.1)
        drain = asyncio.create_task(keda.server.drain())
        async with asyncio.timeout(20):
            while not drain.done():
                await clock.advance(0.01)
                await asyncio.sleep(0.01)
            await asyncio.gather(*callers)
        # A call that had arrived would be CANCELLED; one that was not sent finds nobody.
        assert ended == {grpc.StatusCode.UNAVAILABLE: 50}


async def _serves(keda: Any) -> bool:
    try:
        await keda.get_metric_spec(keda.ref())
    except grpc.aio.AioRpcError:
        return False
    return True


async def test_a_stream_that_does_not_end_holds_up_the_drain_for_its_grace_alone(
    serve: Serve, clock: ManualClock
) -> None:
    async with serve(drain={"wait_seconds": 0, "grace_seconds": 0}) as keda:
        with keda.server.streams.open("shop"):
            drain = asyncio.create_task(keda.server.drain())
            await clock.advance(0)
            async with asyncio.timeout(20):
                await drain


@pytest.mark.parametrize("setting", ["listen", "http"])
async def test_a_server_that_cannot_start_leaves_nothing(
    setting: str, reader: ScriptedReader, clock: ManualClock
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        addresses = {"listen": "127.0.0.1:0", "http": "127.0.0.1:0"}
        addresses[setting] = f"127.0.0.1:{taken.getsockname()[1]}"
        server = Server(Settings(**addresses), clock, [reader])
        with pytest.raises(SettingsError, match=f"^{setting}: cannot listen on {addresses[setting]}: Address already"):
            await server.start()
        await server.close()
    assert reader.closed
    assert clock.pending == 0


@pytest.mark.parametrize("address", ["127.0.0.1", "[::1]"])
async def test_both_families_are_served_on_the_one_that_has_both(
    address: str, reader: ScriptedReader, clock: ManualClock
) -> None:
    server = Server(Settings(listen="[::]:0", http="[::]:0"), clock, [reader])
    await server.start()
    try:
        async with aiohttp.ClientSession() as http, http.get(f"http://{address}:{server.http_port}/healthz") as answer:
            assert answer.status == 200
        async with grpc.aio.insecure_channel(f"{address}:{server.port}") as channel:
            health = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
            assert health.status == health_pb2.HealthCheckResponse.SERVING
    finally:
        await server.close()


# As a process


@pytest.fixture
def run() -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    started: list[subprocess.Popen[str]] = []

    def running(*arguments: str, **environment: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", "from scaler.cli import main; main()", "serve", *arguments]
        process = subprocess.Popen(
            command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}
        )
        started.append(process)
        return process

    yield running
    for process in started:
        process.kill()
        process.communicate()


def test_a_port_in_use_is_one_line_and_exit_code_2(run: Callable[..., Any]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        process = run("--listen", address, "--http", "127.0.0.1:0")
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    assert err == f"scaler: listen: cannot listen on {address}: Address already in use\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
async def test_a_signal_ends_the_process_in_order(run: Callable[..., Any], number: signal.Signals) -> None:
    process = run(
        *("--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--log-format", "json"), SCALER_DRAIN__WAIT_SECONDS="0.3"
    )
    log = await asyncio.to_thread(_until, process, "serving")
    ref = pb.ScaledObjectRef(
        name="orders",
        namespace="shop",
        scalerMetadata={"source": "sqs", "queueURL": "orders", "awsRegion": "eu-west-1"},
    )
    happened: list[str] = []
    async with asyncio.timeout(60), grpc.aio.insecure_channel(f"127.0.0.1:{log['grpc']}") as channel:
        stub, probe = ExternalScalerStub(channel), health_pb2_grpc.HealthStub(channel)
        watch = probe.Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == Health.SERVING
        specs = stub.StreamMetricSpec(ref)
        await specs.read()

        async def end_of_stream() -> None:
            happened.append(f"stream ended: {(await specs.code()).name}")

        async def end_of_serving() -> None:
            assert (await watch.read()).status == Health.NOT_SERVING
            assert (await stub.GetMetricSpec(ref)).metricSpecs
            happened.append("NOT_SERVING, and still serving")

        process.send_signal(number)
        await asyncio.gather(end_of_serving(), end_of_stream())
        watch.cancel()
        out, err = await asyncio.to_thread(process.communicate)
    assert happened == ["NOT_SERVING, and still serving", "stream ended: OK"]
    assert process.returncode == 0
    assert out == ""
    assert [json.loads(line)["event"] for line in err.splitlines()] == ["draining", "stopped"]


def _until(process: Any, event: str) -> dict[str, Any]:
    for line in process.stderr:
        entry: dict[str, Any] = json.loads(line)
        if entry["event"] == event:
            next(process.stderr)  # that there are no access rules
            return entry
    raise AssertionError("the process has ended")
