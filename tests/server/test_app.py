"""The server as a whole: health, reflection, HTTP, and how it ends."""

import asyncio
from functools import partial
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from structlog.testing import capture_logs

from scaler.core.clock import SystemClock
from scaler.core.errors import Unavailable
from scaler.demo.clock import ManualClock
from scaler.demo.scripted import HANG, ScriptedReader, Work
from scaler.server.app import Server, grpc_options, open_readers
from scaler.settings import Settings
from scaler.sources import SOURCES
from tests.server.conftest import NAME, Health, Serve, health, http

# While it serves


async def test_health_is_serving_whatever_the_backends_do(serve: Serve, reader: ScriptedReader) -> None:
    reader.answers["a"] = HANG
    async with serve() as keda, http(keda) as get:
        call = asyncio.ensure_future(keda.get_metrics(keda.ref()))
        await reader.asked.wait()
        assert [await health(keda, service) for service in ("", NAME)] == [Health.SERVING] * 2
        assert await get("/healthz") == (200, "ok\n")
        assert await get("/readyz") == (200, "ok\n")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await health(keda, "other")
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND
        call.cancel()


async def test_reflection_lists_the_services(serve: Serve) -> None:
    async with serve() as keda:
        stub = reflection_pb2_grpc.ServerReflectionStub(keda.channel)
        call = stub.ServerReflectionInfo(
            iter(
                [
                    reflection_pb2.ServerReflectionRequest(list_services=""),
                    reflection_pb2.ServerReflectionRequest(file_containing_symbol=NAME),
                ]
            )
        )
        listed, described = [answer async for answer in call]
        names = {service.name for service in listed.list_services_response.service}
        assert {NAME, "grpc.health.v1.Health"} <= names
        assert b"StreamMetricSpec" in described.file_descriptor_response.file_descriptor_proto[0]


async def test_it_tidies_up_now_and_then_though_a_part_fails(
    serve: Serve, clock: ManualClock, reader: ScriptedReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    async with serve() as keda:
        server = keda.server
        reader.answers["down"] = Unavailable("down")
        with pytest.raises(grpc.aio.AioRpcError):
            await keda.get_metrics(keda.ref(spots="down"))
        for namespace in ("shop", "blog"):
            assert await keda.value(keda.ref(namespace=namespace)) == 0
        assert all(who.lease.states for who in server.registry)
        server.registry.on_forget.append(broken)
        with monkeypatch.context() as patched, capture_logs() as logs:
            patched.setattr(server, "journal", SimpleNamespace(tidy=broken))
            patched.setattr(server, "snapshots", SimpleNamespace(revive=partial(done.append, "revive")))
            patched.setattr(server, "garbage", SimpleNamespace(tidy=partial(done.append, "garbage")))
            await clock.advance(150)
            assert not any(who.lease.states for who in server.registry)
            assert done == ["revive", "garbage"] * 5
            await clock.advance(870)
            assert len(server.registry) == 0
            assert len(done) == 68
        assert {entry["event"] for entry in logs if entry["log_level"] == "error"} == {"cannot tidy up"}


async def test_own_metrics_are_served(serve: Serve, reader: ScriptedReader) -> None:
    reader.answers["a"] = Work(3)
    async with serve() as keda, http(keda) as get:
        await keda.get_metrics(keda.ref())
        status, page = await get("/metrics")
        assert status == 200
        labels = 'namespace="shop",scaledobject="orders"'
        for line in (
            'queue_scaler_rpc_total{code="OK",rpc="GetMetrics"} 1.0',
            'queue_scaler_reads_total{kind="spot",outcome="ok"} 1.0',
            f'queue_scaler_metric_value{{metric="scripted",{labels}}} 3.0',
            f'queue_scaler_active{{{labels},trigger="scripted"}} 1.0',
        ):
            assert line in page.splitlines()


async def test_who_has_not_asked_for_long_is_forgotten_without_anybody_asking(serve: Serve, clock: ManualClock) -> None:
    async with serve() as keda:
        await keda.get_metrics(keda.ref())
        await clock.advance(899)
        assert len(keda.server.registry) == 1
        await clock.advance(60)
        assert len(keda.server.registry) == 0


@pytest.mark.parametrize("access", [(), ({"namespaces": ["shop"], "urls": ["*"]},)])
async def test_without_rules_the_log_says_that_everything_is_allowed(serve: Serve, access: Any) -> None:
    with capture_logs() as logs:
        async with serve(access=access) as keda:
            assert keda.server.backends.addresses.allow_loopback == (not access)
    assert any("no access rules" in entry["event"] for entry in logs) == (not access)


def test_every_source_has_its_readers_once() -> None:
    server = Server(Settings(), SystemClock(), [])
    readers = open_readers(server.backends)
    kinds = [kind for reader in readers for kind in reader.kinds]
    assert len(kinds) == len(set(kinds))
    assert {type(reader) for reader in readers} == {make for source in SOURCES.values() for make in source.readers}


def test_streams_outlive_no_connection() -> None:
    settings = Settings(connection_age_seconds=100)
    options = dict(grpc_options(settings))
    assert options["grpc.max_connection_age_ms"] == 100_000
    assert options["grpc.max_connection_age_grace_ms"] >= 100_000, "a stream may be opened in the last moment"
