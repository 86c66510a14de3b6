"""Bodies of every form: handed on whole, or a fault."""

import gzip

import aiohttp
import pytest

from scaler.clients.http.fetch import Answer, fetch
from scaler.core.errors import Fault, Refused, Throttled, Unavailable
from scaler.demo.raw_http import RawServer, answer
from tests.clients.http.conftest import LIMIT, body_of, request


async def test_the_body_is_handed_on(server: RawServer, session: aiohttp.ClientSession) -> None:
    server.answer = answer(b"hello\n", headers={"Content-Type": "Text/Plain; version=0.0.4"})
    pieces: list[bytes] = []
    told = await fetch(session, request(server, headers={"Accept": "text/plain"}), pieces.append)
    assert (told, b"".join(pieces)) == (Answer(200, "text/plain; version=0.0.4", "its length"), b"hello\n")
    assert "Accept: text/plain\r\n" in server.heads[0]
    assert "Accept-Encoding: gzip\r\n" in server.heads[0]


@pytest.mark.parametrize(
    ("age", "taken"),
    [
        ("0", True),
        ("15", True),
        ("16", False),
        ("4000", False),
        ("9" * 400, False),
        ("never", False),
        ("0\r\nAge: 16", False),
    ],
)
async def test_what_a_cache_has_kept_too_long_is_a_fault(
    server: RawServer, session: aiohttp.ClientSession, age: str, *, taken: bool
) -> None:
    server.answer = answer(b"workqueue_depth 0\n", headers={"Age": age})
    if taken:
        assert await body_of(session, request(server)) == b"workqueue_depth 0\n"
    else:
        with pytest.raises(
            Unavailable, match=r"^the page: a cache answers with what is more than 15 s old, or of an unknown age; let"
        ):
            await body_of(session, request(server))
    assert "Cache-Control: no-cache\r\n" in server.heads[0]


CHUNKED = {"Transfer-Encoding": "chunked"}
GZIP = {"Content-Encoding": "gzip"}
PACKED = gzip.compress(b"hello\n" * 1000)


@pytest.mark.parametrize(
    ("told", "body"),
    [
        pytest.param(answer(b"6\r\nhello\n\r\n0\r\n\r\n", headers=CHUNKED), b"hello\n", id="chunked"),
        pytest.param(b"HTTP/1.0 200 OK\r\n\r\nhello\n", b"hello\n", id="until the connection is closed"),
        pytest.param(answer(PACKED, headers=GZIP), b"hello\n" * 1000, id="gzip"),
        pytest.param(answer(b""), b"", id="empty"),
    ],
)
async def test_every_form_of_a_body(
    server: RawServer, session: aiohttp.ClientSession, told: bytes, body: bytes
) -> None:
    server.answer = told
    assert await body_of(session, request(server)) == body


@pytest.mark.parametrize(
    ("told", "fault", "reason"),
    [
        pytest.param(answer(b"", status=401), Refused, "HTTP 401.*credentials", id="401"),
        pytest.param(answer(b"", status=403), Refused, "HTTP 403.*credentials", id="403"),
        pytest.param(answer(b"", status=404), Refused, "HTTP 404.*path", id="404"),
        pytest.param(answer(b"", status=418), Refused, "HTTP 418", id="another 4xx"),
        pytest.param(answer(b"", status=429), Throttled, "HTTP 429.*less often", id="429"),
        pytest.param(answer(b"", status=500), Unavailable, "HTTP 500", id="500"),
        pytest.param(answer(b"", status=503), Unavailable, "HTTP 503", id="503"),
        pytest.param(answer(b"", status=204), Unavailable, "HTTP 204", id="no content"),
        pytest.param(answer(b"hello\n", headers={"Content-Length": "7"}), Unavailable, "broke off", id="cut short"),
        pytest.param(answer(b"6\r\nhello\n\r\n", headers=CHUNKED), Unavailable, "broke off", id="chunks cut short"),
        pytest.param(answer(b"6\r\nhel", headers=CHUNKED), Unavailable, "broke off", id="a chunk cut short"),
        pytest.param(answer(b"zz\r\nhello", headers=CHUNKED), Unavailable, "", id="no chunk"),
        pytest.param(answer(PACKED[:-9], headers=GZIP), Unavailable, "not whole", id="gzip cut short"),
        pytest.param(answer(PACKED + b"x", headers=GZIP), Unavailable, "not whole", id="more than gzip"),
        pytest.param(
            answer(PACKED + bytes(300_000), headers={**GZIP, "Content-Length": "9999999"}),
            Unavailable,
            "not whole",
            id="much more than gzip, which is not waited for",
        ),
        pytest.param(answer(b"hello\n", headers=GZIP), Unavailable, "", id="no gzip"),
        pytest.param(answer(b"hello\n", headers={"Content-Encoding": "br"}), Unavailable, "encoding", id="brotli"),
        pytest.param(
            answer(b"hello\n", headers={"Content-Encoding": "identity\r\nContent-Encoding: gzip"}),
            Unavailable,
            "encoding",
            id="two encodings",
        ),
        pytest.param(
            answer(PACKED[:10] + b"\0\0\0\xff\xff" * LIMIT, headers=GZIP),
            Unavailable,
            "compressed bytes hold 0",
            id="gzip without an end and content",
        ),
        pytest.param(answer(b"x" * (LIMIT + 1)), Unavailable, f"larger than {LIMIT} bytes", id="too large"),
        pytest.param(
            answer(gzip.compress(bytes(50_000_000)), headers=GZIP), Unavailable, f"larger than {LIMIT}", id="gzip bomb"
        ),
        pytest.param(
            b"", Unavailable, "connection was closed before the answer; does the port speak https", id="closed at once"
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000, Unavailable, "", id="endless head"),
        pytest.param(b"SSH-2.0-OpenSSH_9.6\r\n\r\n", Unavailable, "no valid HTTP", id="no HTTP"),
    ],
)
async def test_what_is_not_a_whole_answer_is_a_fault(
    server: RawServer, session: aiohttp.ClientSession, told: bytes, fault: type[Fault], reason: str
) -> None:
    server.answer = told
    with pytest.raises(fault, match=f"^the page: .*{reason}"):
        await body_of(session, request(server))


async def test_a_gzip_bomb_is_unpacked_in_small_pieces(server: RawServer, session: aiohttp.ClientSession) -> None:
    server.answer = answer(gzip.compress(bytes(3_000_000)), headers=GZIP)
    sizes: list[int] = []
    await fetch(session, request(server, max_bytes=3_000_000), lambda piece: sizes.append(len(piece)))
    assert sum(sizes) == 3_000_000
    assert max(sizes) <= 65_536


@pytest.mark.parametrize(
    ("told", "end"),
    [
        pytest.param(answer(b"hello\n"), "its length", id="length"),
        pytest.param(answer(b"6\r\nhello\n\r\n0\r\n\r\n", headers=CHUNKED), "its last chunk", id="chunked"),
        pytest.param(b"HTTP/1.0 200 OK\r\n\r\nhello\n", "", id="HTTP/1.0"),
        pytest.param(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello\n", "", id="Connection: close"),
        pytest.param(
            b"HTTP/1.0 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + PACKED, "its checksum", id="gzip without a length"
        ),
        *(
            pytest.param(f"HTTP/1.1 200 OK\r\n{codings}\r\n\r\nhello\n".encode(), "", id=f"{codings!r}, not chunked")
            for codings in (
                "Transfer-Encoding: xchunked",
                "Transfer-Encoding: chunked, identity",
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
            )
        ),
    ],
)
async def test_an_answer_tells_what_has_shown_its_end(
    server: RawServer, session: aiohttp.ClientSession, told: bytes, end: str
) -> None:
    server.answer = told
    assert (await fetch(session, request(server), lambda _: None)).end == end


@pytest.mark.parametrize(
    "told",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 6\r\n\r\nhello\n", id="two lengths"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nhello\n\r\n0\r\n\r\n",
            id="a length and chunks",
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nhello\n", id="a negative length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 6x\r\n\r\nhello\n", id="no length"),
    ],
)
async def test_an_end_that_is_told_in_two_ways_is_none(
    server: RawServer, session: aiohttp.ClientSession, told: bytes
) -> None:
    server.answer = told
    with pytest.raises(Unavailable):
        await fetch(session, request(server), lambda _: None)
