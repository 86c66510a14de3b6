"""The Valkey of the wheel speaks no TLS, so something like stunnel stands before it."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from scaler.core.errors import Refused, Unavailable
from scaler.demo.picky_tls import PickyTls
from scaler.demo.valkey import Valkey


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    made = trustme.CA()
    made.cert_pem.write_to_path(tmp_path / "ca.pem")
    return made


@contextlib.asynccontextmanager
async def tls_before(
    valkey: Valkey, certificate: trustme.LeafCert, client_ca: trustme.CA | None = None
) -> AsyncIterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    if client_ca is not None:
        client_ca.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
        writer.close()

    serving: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.current_task())
        there, back = await asyncio.open_connection("127.0.0.1", valkey.port)
        await asyncio.gather(pump(reader, back), pump(there, writer))
        for end in (writer, back):
            with contextlib.suppress(OSError):
                await end.wait_closed()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        await listener.wait_closed()
        await asyncio.gather(*filter(None, serving))


async def test_tls_with_an_authority_of_ones_own(
    connected: Any, valkey: Valkey, authority: trustme.CA, tmp_path: Path
) -> None:
    async with (
        tls_before(valkey, authority.issue_cert("localhost")) as port,
        connected(f"rediss://:canary-word@localhost:{port}", ca_file=tmp_path / "ca.pem") as connection,
    ):
        assert await connection.ask([("PING",)]) == [b"PONG"]


@pytest.mark.parametrize(
    ("host", "told"),
    [("127.0.0.1", "IP address mismatch"), ("localhost", "certificate verify failed")],
    ids=["another host", "unknown authority"],
)
async def test_tls_verifies_host_and_authority(
    refusal: Any, valkey: Valkey, tmp_path: Path, host: str, told: str
) -> None:
    signer = trustme.CA()
    known = signer if host == "127.0.0.1" else trustme.CA()
    known.cert_pem.write_to_path(tmp_path / "ca.pem")
    async with tls_before(valkey, signer.issue_cert("localhost")) as port:
        fault = await refusal(f"rediss://:canary-word@{host}:{port}", ca_file=tmp_path / "ca.pem")
    assert isinstance(fault, Unavailable)
    assert told in str(fault)
    assert "a connection under `redis` of the configuration has caFile" in str(fault)
    assert "canary" not in str(fault)


async def test_client_certificate_is_shown(
    connected: Any, refusal: Any, valkey: Valkey, authority: trustme.CA, tmp_path: Path
) -> None:
    authority.issue_cert("scaler").private_key_and_cert_chain_pem.write_to_path(tmp_path / "client.pem")
    files = {"ca_file": tmp_path / "ca.pem", "cert_file": tmp_path / "client.pem"}
    async with tls_before(valkey, authority.issue_cert("localhost"), client_ca=authority) as port:
        url = f"rediss://:canary-word@localhost:{port}"
        async with connected(url, **files) as connection:
            assert await connection.ask([("PING",)]) == [b"PONG"]
        fault = await refusal(url, ca_file=tmp_path / "ca.pem")
    assert isinstance(fault, Unavailable)
    assert "if it asks for a client certificate, a connection under `redis` of the configuration has cert" in str(fault)


@pytest.mark.parametrize("content", [None, "no certificate"], ids=["missing", "garbage"])
async def test_unusable_certificate_file_is_unavailable(
    refusal: Any, valkey: Valkey, tmp_path: Path, content: str | None
) -> None:
    if content is not None:
        (tmp_path / "ca.pem").write_text(content)
    fault = await refusal(f"rediss://localhost:{valkey.port}", ca_file=tmp_path / "ca.pem")
    assert isinstance(fault, Unavailable)
    assert "cannot use caFile" in str(fault)


async def test_plain_server_behind_a_tls_url_is_told(refusal: Any, valkey: Valkey) -> None:
    fault = await refusal(f"rediss://:canary-word@127.0.0.1:{valkey.port}", seconds=2.0)
    assert isinstance(fault, Refused)
    assert "the server speaks without; write redis://" in str(fault)


@pytest.mark.parametrize("userinfo", ["", ":canary-word@"], ids=["no login", "login"])
async def test_tls_server_behind_a_plain_url_is_told(
    refusal: Any, valkey: Valkey, authority: trustme.CA, userinfo: str
) -> None:
    async with tls_before(valkey, authority.issue_cert("localhost")) as port:
        fault = await refusal(f"redis://{userinfo}localhost:{port}")
    assert isinstance(fault, Refused)
    assert "the server speaks TLS and the URL does not; write rediss://" in str(fault)


async def test_sentinel_with_tls_on_one_side_is_told(refusal: Any, valkey: Valkey, authority: trustme.CA) -> None:
    fault = await refusal(f"rediss+sentinel://localhost:{valkey.port}/shop")
    assert "Sentinel localhost" in str(fault)
    assert "the server speaks without" in str(fault)
    async with tls_before(valkey, authority.issue_cert("localhost")) as port:
        assert "the server speaks TLS" in str(await refusal(f"redis+sentinel://localhost:{port}/shop"))


async def test_a_key_exchange_that_takes_too_long_is_not_made(refusal: Any) -> None:
    picky = PickyTls(256)
    fault = await refusal(f"rediss://127.0.0.1:{await picky.start()}")
    await picky.close()
    assert "the server insists on a key exchange in a finite field" in str(fault)
    assert await picky.then.get() == b""


async def test_silence_is_not_taken_for_the_other_protocol(refusal: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for scheme in ("redis", "rediss"):
            fault = await refusal(f"{scheme}://127.0.0.1:{silent.getsockname()[1]}", seconds=0.1)
            assert isinstance(fault, Unavailable)
            assert "no answer within 0.1 s" in str(fault)
