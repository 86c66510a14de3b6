"""Handshakes: key exchanges that hold up the event loop end before they are calculated; all others are made."""

import asyncio
import ssl
import struct
from pathlib import Path

import pytest
import trustme
from yarl import URL

from scaler.clients.http.addresses import Addresses
from scaler.clients.http.fetch import Request, fetch
from scaler.clients.http.key_exchange import first_message, group_of
from scaler.clients.http.names import Names
from scaler.clients.http.session import open_session
from scaler.clients.http.tls import ClientTls, client_context, system_context, trust
from scaler.core.errors import Unavailable
from scaler.demo.picky_tls import FFDHE, PickyTls, server_hello
from scaler.demo.raw_http import RawServer, answer

P_384, P_521, X448 = 24, 25, 30


async def told_by(group: int, names: Names) -> tuple[str, bytes]:
    """Return the fault of a server that asks for `group`, and the first byte that it was sent then."""
    picky = PickyTls(group)
    url = URL(f"https://127.0.0.1:{await picky.start()}/")
    async with open_session(Addresses(), names) as session:
        with pytest.raises(Unavailable) as raised:
            await fetch(session, Request(url=url, where="the page", max_bytes=1), lambda _: None)
        then = await picky.then.get()
    await picky.close()
    return str(raised.value), then


@pytest.mark.parametrize("group", FFDHE)
async def test_no_key_is_exchanged_in_a_finite_field(group: int, names: Names) -> None:
    told, then = await told_by(group, names)
    assert (
        told == "the page: the server insists on a key exchange in a finite field (FFDHE), which would take too long"
        or group > 257
    )
    assert then in {
        b"",
        b"\x15",
    }  # nothing, or an alert of an OpenSSL that has not offered it (3.5: none beyond 3072 bits)


@pytest.mark.parametrize("group", [P_384, P_521, X448])
async def test_a_server_may_ask_for_another_curve(group: int, names: Names) -> None:
    told, then = await told_by(group, names)
    assert "FFDHE" not in told
    assert then in {b"\x14", b"\x16"}  # the handshake goes on


RECORD = struct.Struct("!BHH")


def records(*parts: tuple[int, bytes]) -> bytes:
    return b"".join(RECORD.pack(kind, 0x0303, len(part)) + part for kind, part in parts)


HELLO = server_hello(b"\x16\x03\x01" + bytes(40) + b"\x20" + bytes(32), bytes(32), struct.pack("!H", 260))[5:]


@pytest.mark.parametrize(
    ("data", "found"),
    [
        pytest.param(records((22, HELLO)), HELLO, id="whole"),
        pytest.param(records((22, HELLO + b"\x0b...")), HELLO, id="with more after it"),
        pytest.param(records((22, HELLO))[:-1], None, id="not whole"),
        pytest.param(b"\x16\x03", None, id="not even a record"),
        pytest.param(records((22, HELLO[:1])), None, id="its first byte"),
        pytest.param(records((22, HELLO[:4])), None, id="its head"),
        pytest.param(
            records(*((22, HELLO[at : at + 1]) for at in range(len(HELLO)))), HELLO, id="in records of a byte"
        ),
        pytest.param(records((21, b"\x01\x70"), (22, HELLO)), HELLO, id="after a warning"),
        pytest.param(records((22, HELLO[:9]), (20, b"\x01"), (22, HELLO[9:])), HELLO, id="with another record within"),
        pytest.param(records((22, b""), (22, bytes(4) + HELLO)), HELLO, id="after a HelloRequest"),
        pytest.param(records((22, b"\x0b\0\0\0")), b"", id="another message"),
        pytest.param(b"HTTP/1.1 400 Bad Request", b"", id="no TLS"),
    ],
)
def test_the_first_message_is_found(data: bytes, found: bytes | None) -> None:
    assert first_message(data) == found


def test_its_group_is_found() -> None:
    assert group_of(HELLO) == 260
    assert group_of(HELLO[:80]) is None
    assert group_of(b"") is None


async def test_a_first_message_without_an_end_is_a_fault(names: Names) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(records((22, b"\x02\xff\xff\xff" + bytes(8_000))))
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, open_session(Addresses(), names) as session:
        url = URL(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        with pytest.raises(Unavailable, match="the server's first TLS message does not end"):
            await fetch(session, Request(url=url, where="the page", max_bytes=1), lambda _: None)


async def test_a_handshake_with_another_curve_comes_to_its_end(names: Names, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ecdh_curve("secp521r1")
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server, pieces = RawServer(answer(b"hello")), list[bytes]()
    await server.start(tls=context)
    async with open_session(Addresses(), names) as session:
        url = URL(f"https://127.0.0.1:{server.port}/")
        wanted = Request(url=url, where="the page", max_bytes=9, tls=client_context(tmp_path / "ca.pem"))
        await fetch(session, wanted, pieces.append)
    await server.close()
    assert b"".join(pieces) == b"hello"


@pytest.mark.parametrize(("names_in_it", "taken"), [(1_000, True), (2_500, False)])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_the_certificates_of_a_server_have_a_limit(
    names: Names, tmp_path: Path, version: ssl.TLSVersion, names_in_it: int, *, taken: bool
) -> None:
    """A chain of 200 held up the event loop for 60 ms."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = version
    many = [f"host-{number}.test" for number in range(names_in_it)]
    authority.issue_cert("127.0.0.1", *many).configure_cert(context)
    server, pieces = RawServer(answer(b"hello")), list[bytes]()
    await server.start(tls=context)
    async with open_session(Addresses(), names) as session:
        url = URL(f"https://127.0.0.1:{server.port}/")
        wanted = Request(url=url, where="the page", max_bytes=9, tls=client_context(tmp_path / "ca.pem"))
        if taken:
            await fetch(session, wanted, pieces.append)
        else:
            with pytest.raises(Unavailable, match="the server's TLS handshake is too long"):
                await fetch(session, wanted, pieces.append)
    await server.close()
    assert pieces == [b"hello"] * taken


def test_there_is_one_handshake_for_a_connection() -> None:
    assert client_context().options & ssl.OP_NO_RENEGOTIATION


def test_nor_is_one_offered_before_tls_1_3() -> None:
    offered = [cipher["name"] for cipher in client_context().get_ciphers()]
    assert any(name.startswith("ECDHE-") for name in offered)
    assert not [name for name in offered if name.startswith("DHE-")]


def test_a_server_whose_certificate_is_not_looked_at_is_no_exception() -> None:
    unverified = trust(ClientTls(), verify=False)
    assert isinstance(unverified, ssl.SSLContext)
    assert unverified.verify_mode == ssl.CERT_NONE
    assert type(unverified) is type(system_context())
