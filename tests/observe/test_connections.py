"""The HTTP port under clients that are silent, slow, many, or ask for another name; on real sockets."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from scaler.demo.clock import ManualClock
from scaler.observe import connections

Serve = Callable[..., Any]
HEAD = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"


async def opened(keda: Any, sent: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", keda.server.http_port)
    writer.write(sent)
    await writer.drain()
    return reader, writer


async def ended(reader: asyncio.StreamReader) -> bool:
    """Tell whether the server has ended the connection, in whatever way."""
    try:
        async with asyncio.timeout(5):
            return await reader.read() == b""
    except ConnectionError:
        return True


async def answered(keda: Any, head: bytes = HEAD) -> bytes:
    reader, writer = await opened(keda, head + b"Connection: close\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    return answer.partition(b"\r\n")[0]


@pytest.mark.parametrize(
    "sent", [b"", b"GET", HEAD, HEAD + b"X: " + b"y" * 900], ids=["nothing", "GET", "head", "more"]
)
async def test_a_request_that_is_never_finished_is_ended(serve: Serve, clock: ManualClock, sent: bytes) -> None:
    async with serve() as keda:
        reader, writer = await opened(keda, sent)
        await answered(keda)  # by then the server has read what was sent before
        for _ in range(5):  # a byte now and then changes nothing
            await clock.advance(connections.SILENT_SECONDS / 5)
            writer.write(b"a")
        assert await ended(reader)
        writer.close()


async def test_a_connection_that_is_kept_is_ended_when_it_asks_no_more(serve: Serve, clock: ManualClock) -> None:
    async with serve() as keda:
        reader, writer = await opened(keda, HEAD + b"\r\n")
        for _ in range(3):
            assert (await asyncio.wait_for(reader.readuntil(b"ok\n"), 5)).startswith(b"HTTP/1.1 200")
            await clock.advance(connections.SILENT_SECONDS - 1)
            writer.write(HEAD + b"\r\n")
        await asyncio.wait_for(reader.readuntil(b"ok\n"), 5)
        await clock.advance(connections.SILENT_SECONDS)
        assert await ended(reader)
        writer.close()


async def test_many_half_sent_requests_shut_nobody_out(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 20)
    async with serve() as keda:
        slow = [await opened(keda, HEAD) for _ in range(60)]
        for _ in range(3):
            assert await answered(keda) == b"HTTP/1.1 200 OK"
        assert all([await ended(reader) for reader, _ in slow[:40]])
        for _, writer in slow:
            writer.close()


async def test_answers_that_nobody_reads_shut_nobody_out(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 5)
    async with serve() as keda:
        greedy = [await opened(keda, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 200) for _ in range(10)]
        for _ in range(3):
            assert await answered(keda) == b"HTTP/1.1 200 OK"
        for _, writer in greedy:
            writer.transport.abort()


@pytest.mark.parametrize(
    ("host", "served"),
    [
        ("localhost:9091", True),
        ("127.0.0.1:9091", True),
        ("10.1.2.3", True),
        ("[::1]:9091", True),
        ("[fd00::1]", True),
        ("keda-queue-scaler.keda.svc:9091", True),
        ("Keda-Queue-Scaler.keda.svc.cluster.local.", True),
        ("evil.example", False),
        ("svc", False),
        ("a.svc.evil.example", False),
        ("localhost.evil.example:9091", False),
        ("127.0.0.1.evil.example", False),
        ("", False),
        ("[evil.example]", False),
    ],
)
@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/", "/api/scaledobjects"])
async def test_only_names_of_its_own_are_served(serve: Serve, host: str, path: str, *, served: bool) -> None:
    async with serve(page={"enabled": True}) as keda:
        status = await answered(keda, f"GET {path} HTTP/1.1\r\nHost: {host}\r\n".encode())
    assert status.split()[1] == (b"200" if served else b"421")


async def test_the_names_are_a_setting_and_no_name_is_no_browser(serve: Serve) -> None:
    async with serve(http_allowed_hosts=("scaler.example.com",)) as keda:
        assert b"200" in await answered(keda, b"GET /healthz HTTP/1.1\r\nHost: scaler.example.com\r\n")
        assert b"421" in await answered(keda, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n")
        assert b"200" in await answered(keda, b"GET /healthz HTTP/1.0\r\n")


@pytest.mark.parametrize("target", ["http://evil.example/healthz", "http://localhost@evil.example/healthz"])
async def test_a_name_in_the_target_counts_as_well(serve: Serve, target: str) -> None:
    async with serve() as keda:
        assert b"421" in await answered(keda, f"GET {target} HTTP/1.1\r\nHost: localhost\r\n".encode())
        assert b"200" in await answered(keda, b"GET http://localhost/healthz HTTP/1.1\r\nHost: localhost\r\n")


async def test_what_is_no_http_is_told_the_client_and_not_the_log(
    serve: Serve, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    async with serve() as keda:
        for sent in (
            b"GET / HTTP/1.1\r\nHost localhost\r\n\r\n",
            b"\x16\x03\x01\r\n\r\n",
            HEAD + b"Content-Length: x\r\n\r\n",
        ):
            reader, writer = await opened(keda, sent)
            assert b" 400 " in await asyncio.wait_for(reader.read(), 5)
            writer.close()
    assert [record for record in caplog.records if record.exc_info] == []
    assert "Traceback" not in "".join(capsys.readouterr())
