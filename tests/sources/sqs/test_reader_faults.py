"""Endpoints that are not SQS, or not there, and the ways to reach one that is."""

import asyncio
import gzip
import json
import re
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trustme

from scaler.clients.http.addresses import Addresses
from scaler.core.errors import Fault, Refused, Unavailable
from scaler.demo.raw_http import RawServer, answer
from scaler.sources.backends import Backends
from scaler.sources.sqs.answers import ATTRIBUTES
from scaler.sources.sqs.places import Counts, Queue
from scaler.sources.sqs.reader import MAX_BYTES
from scaler.sources.sqs.trigger import SqsTrigger
from scaler.sources.triggers import parse
from tests.sources.sqs.conftest import COUNTS, REGION, TARGETS, MakeAccount, Read

WHOLE = json.dumps(COUNTS).encode()
NUMBERS = json.dumps({"Attributes": dict.fromkeys(ATTRIBUTES.values(), 0)}).encode()
GARBAGE: dict[str, tuple[bytes, str]] = {
    "HTML": (answer(b"<html><body>It works!</body></html>"), "not the JSON that SQS sends"),
    "empty": (answer(b""), "not the JSON that SQS sends"),
    "null": (answer(b"null"), "not the JSON that SQS sends"),
    "a list": (answer(b"[]"), "not the JSON that SQS sends"),
    "empty object": (answer(b"{}"), "without a usable ApproximateNumberOfMessages"),
    "numbers": (answer(NUMBERS), "without a usable ApproximateNumberOfMessages"),
    "half a body": (answer(WHOLE[:20], headers={"Content-Length": "500"}), "broke off"),
    "half a chunk": (answer(b"5\r\n{}", headers={"Transfer-Encoding": "chunked"}), "broke off"),
    "no chunk": (answer(b"zz\r\n", headers={"Transfer-Encoding": "chunked"}), "no valid HTTP"),
    "packed and cut short": (answer(gzip.compress(WHOLE)[:-8], headers={"Content-Encoding": "gzip"}), "not the JSON"),
    "huge": (answer(WHOLE + b" " * MAX_BYTES), "larger than 524288 bytes"),
    "lists": (answer(b'{"a":[' + b"[]," * 100_000 + b"[]]}"), "not the JSON that SQS sends"),
    "deep": (answer(b"[" * 100_000), "not the JSON that SQS sends"),
    "wide": (answer(json.dumps(dict.fromkeys(map(str, range(2_001)))).encode()), "not the JSON that SQS sends"),
    "no HTTP": (b"SSH-2.0-OpenSSH_9.6\r\n", "no valid HTTP"),
    "no status": (b"HTTP/1.1\r\n\r\n", "no valid HTTP"),
    "cut head": (b"HTTP/1.1 200 OK\r\nContent-", "the connection was closed before the answer"),
    "nothing": (b"", "the connection was closed before the answer"),
    "redirect": (answer(b"", status=307, headers={"Location": "http://169.254.169.254/"}), "HTTP 307"),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", "HTTP 204"),
    "login page": (answer(b"<html>", status=403), "is the endpoint SQS? (HTTP 403)"),
    "bad gateway": (answer(b"<html>", status=502), "HTTP 502"),
}
FOR_LISTING = {"empty object": "no queue has this prefix", "numbers": "no queue has this prefix"}


@pytest.mark.parametrize("operation", TARGETS)
@pytest.mark.parametrize("kind", GARBAGE)
async def test_garbage_is_a_fault(read: Read, account: MakeAccount, operation: str, kind: str) -> None:
    told, said = GARBAGE[kind]
    server = RawServer(told)
    await server.start()
    fault = await read(TARGETS[operation](account(f"http://127.0.0.1:{server.port}")))
    await server.close()
    assert isinstance(fault, Fault)
    assert str(fault).startswith("SQS queue")
    assert f"127.0.0.1:{server.port}" in str(fault)
    assert (FOR_LISTING.get(kind, said) if operation == "ListQueues" else said) in str(fault)
    assert len(server.heads) <= 2


async def test_a_body_in_many_pieces_is_read_whole(read: Read, account: MakeAccount) -> None:
    body, ended = json.dumps(COUNTS).encode(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
        for start in range(0, len(body), 16):
            writer.write(body[start : start + 16])
            await writer.drain()
            await asyncio.sleep(0.001)  # another packet
        writer.close()
        await writer.wait_closed()
        ended.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    assert await read(Queue(account(f"http://127.0.0.1:{port}"), "orders")) == Counts(3, 2, 1)
    await ended.wait()
    server.close()


async def test_a_refused_connection_is_a_fault(read: Read, account: MakeAccount, unused_tcp_port: int) -> None:
    fault = await read(Queue(account(f"http://127.0.0.1:{unused_tcp_port}"), "orders"))
    assert type(fault) is Unavailable
    assert f"http://127.0.0.1:{unused_tcp_port}/: no connection: " in str(fault)


async def test_a_connection_that_the_server_closed_while_idle_is_no_fault(read: Read, account: MakeAccount) -> None:
    served = 0
    body = json.dumps(COUNTS).encode()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the first request of a connection, and close it instead of answering the second."""
        nonlocal served
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"Content-Length: ([0-9]+)", head)
        await reader.readexactly(int(length[1]) if length else 0)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        served += 1
        with suppress(asyncio.IncompleteReadError):  # of the last connection the client goes first
            await reader.readuntil(b"\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    queue = Queue(account(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"), "orders")
    assert await read(queue) == Counts(3, 2, 1)
    assert await read(queue) == Counts(3, 2, 1)
    assert served == 2
    server.close()


@pytest.mark.parametrize(
    ("endpoint", "allow_loopback", "said"),
    [
        ("http://169.254.169.254", True, "address 169.254.169.254 is refused: link-local"),
        ("http://127.0.0.1:1", False, "no trigger reads loopback"),
        ("http://localhost:1", False, "no trigger reads loopback"),
    ],
)
async def test_forbidden_addresses_are_refused(
    read: Read, account: MakeAccount, endpoint: str, *, allow_loopback: bool, said: str
) -> None:
    backends = Backends(addresses=Addresses(allow_loopback=allow_loopback))
    fault = await read(Queue(account(endpoint), "orders"), backends=backends)
    assert type(fault) is Refused
    assert said in str(fault)


def test_the_awsendpoint_of_a_trigger_is_where_it_reads() -> None:
    trigger = parse(
        {"source": "sqs", "queueURL": "q", "awsRegion": REGION, "awsEndpoint": "http://127.0.0.1:1/"}, "shop"
    )
    assert isinstance(trigger, SqsTrigger)
    assert trigger.account.endpoint == "http://127.0.0.1:1"


async def test_plain_http_where_https_is_expected_is_a_fault(canned: Any, read: Read, account: MakeAccount) -> None:
    fault = await read(Queue(account(canned.url.replace("http:", "https:")), "orders"))
    assert type(fault) is Unavailable
    assert "TLS" in str(fault)


async def test_aws_ca_bundle_says_whom_to_trust(
    read: Read, account: MakeAccount, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    authority = trustme.CA()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    server = RawServer(answer(WHOLE))
    await server.start(tls=tls)
    queue = Queue(account(f"https://127.0.0.1:{server.port}"), "orders")
    assert "the TLS certificate is refused" in str(await read(queue))
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    assert await read(queue, backends=Backends()) == Counts(3, 2, 1)
    await server.close()


async def test_a_bundle_of_certificates_that_cannot_be_read_is_told(
    read: Read, account: MakeAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", "/nowhere/ca.pem")
    fault = await read(Queue(account("https://127.0.0.1:1"), "orders"))
    assert type(fault) is Refused
    assert "AWS_CA_BUNDLE /nowhere/ca.pem cannot be used: No such file or directory" in str(fault)


async def test_a_password_in_the_endpoint_of_the_environment_is_neither_sent_nor_told(
    canned: Any, read: Read, account: MakeAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", canned.url.replace("//", "//user:canary@"))
    assert await read(Queue(account(), "orders")) == Counts(3, 2, 1)
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", "http://user:canary@127.0.0.1:1")
    assert "canary" not in str(await read(Queue(account(region="eu-west-2"), "orders")))


# A proxy


async def test_sqs_is_reached_through_the_proxy_of_the_environment(
    read: Read, account: MakeAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = RawServer(answer(b"", status=403))
    await proxy.start()
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:canary@127.0.0.1:{proxy.port}")
    fault = await read(Queue(account(), "orders"))
    assert proxy.heads[0].startswith("CONNECT sqs.eu-west-1.amazonaws.com:443 HTTP/1.1")
    assert type(fault) is Unavailable
    assert "canary" not in str(fault)
    await proxy.close()


async def test_other_endpoints_are_not_reached_through_a_proxy(
    canned: Any, read: Read, account: MakeAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert await read(Queue(account(canned.url), "orders")) == Counts(3, 2, 1)
