import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import aiohttp
import pytest
import trustme
from yarl import URL

from scaler.clients.http.addresses import Addresses
from scaler.clients.http.fetch import Answer, Request, deadline, fetch, shown, without_credentials
from scaler.clients.http.names import Names
from scaler.clients.http.session import open_session
from scaler.core.errors import Fault, Refused, Throttled, Unavailable
from scaler.demo.clock import ManualClock
from scaler.demo.controllers import Controller
from scaler.demo.raw_http import RawServer, answer

Told = bytes | None | Callable[[str], bytes | None]
LIMIT = 100_000


@pytest.fixture
async def server() -> AsyncIterator[RawServer]:
    made = RawServer(answer(b"hello\n"))
    await made.start()
    yield made
    await made.close()


@pytest.fixture
async def session(names: Names) -> AsyncIterator[aiohttp.ClientSession]:
    async with open_session(Addresses(), names) as made:
        yield made


def request(server: RawServer, **changes: object) -> Request:
    return Request(
        **{"url": URL(f"http://127.0.0.1:{server.port}/metrics"), "where": "the page", "max_bytes": LIMIT, **changes}
    )


async def body_of(session: aiohttp.ClientSession, wanted: Request) -> bytes:
    pieces: list[bytes] = []
    await fetch(session, wanted, pieces.append)
    return b"".join(pieces)


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
        with pytest.raises(Unavailable, match=r"^the page: a cache answers with what is '.{1,12}' s old"):
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


async def test_a_form_is_posted(server: RawServer, session: aiohttp.ClientSession) -> None:
    await body_of(session, request(server, form={"query": "a b"}))
    assert server.heads[0].startswith("POST /metrics ")


async def test_nothing_listens(server: RawServer, session: aiohttp.ClientSession) -> None:
    await server.close()
    with pytest.raises(Unavailable, match="the page: no connection"):
        await body_of(session, request(server))


async def test_a_name_without_address(session: aiohttp.ClientSession) -> None:
    wanted = Request(url=URL("http://no-such-host.invalid/"), where="the page", max_bytes=LIMIT)
    with pytest.raises(
        Unavailable, match=r"the page: no-such-host.invalid: (the host name has no address|no name server answers)"
    ):
        await body_of(session, wanted)


# Which host is asked


async def test_the_address_is_connected_to_and_the_name_is_asked_for(
    server: RawServer, session: aiohttp.ClientSession
) -> None:
    url = URL(f"http://argocd-metrics.argocd.svc.cluster.local.:{server.port}/metrics?x=1")
    assert await body_of(session, request(server, url=url, address="127.0.0.1")) == b"hello\n"
    assert server.heads[0].startswith("GET /metrics?x=1 ")
    assert f"Host: argocd-metrics.argocd.svc.cluster.local:{server.port}\r\n" in server.heads[0]


@pytest.mark.parametrize("location", ["/other", "http://127.0.0.1:{port}/other", "other"])
async def test_a_redirect_on_the_same_host_is_followed(
    server: RawServer, session: aiohttp.ClientSession, location: str
) -> None:
    to = answer(b"", status=302, headers={"Location": location.format(port=server.port)})
    server.answer = lambda head: answer(b"there\n") if head.startswith("GET /other ") else to
    assert await body_of(session, request(server, headers={"Authorization": "Basic x"})) == b"there\n"
    assert "Authorization: Basic x\r\n" in server.heads[1]


async def test_a_redirect_stays_at_the_address(server: RawServer, session: aiohttp.ClientSession) -> None:
    to = answer(b"", status=307, headers={"Location": f"http://a.invalid:{server.port}/other"})
    server.answer = lambda head: answer(b"there\n") if head.startswith("GET /other ") else to
    url = URL(f"http://a.invalid:{server.port}/metrics")
    assert await body_of(session, request(server, url=url, address="127.0.0.1")) == b"there\n"


@pytest.mark.parametrize(
    "location",
    [
        pytest.param("http://localhost:{port}/", id="another name"),
        pytest.param("http://169.254.169.254/", id="cloud metadata"),
        pytest.param("//127.0.0.2:{port}/", id="another address"),
        pytest.param("http://u:p@127.0.0.1:{port}/", id="with credentials"),
        pytest.param("file:///etc/passwd", id="a file"),
        pytest.param("http://[", id="no URL"),
        pytest.param("", id="nowhere"),
    ],
)
async def test_a_redirect_elsewhere_is_a_fault(
    server: RawServer, session: aiohttp.ClientSession, location: str
) -> None:
    server.answer = answer(b"", status=302, headers={"Location": location.format(port=server.port)})
    with pytest.raises(Unavailable, match="redirect"):
        await body_of(session, request(server))
    assert len(server.heads) == 1 or location == ""


async def test_a_redirect_to_another_port_is_followed_as_its_judge_says_and_without_the_credentials(
    server: RawServer, session: aiohttp.ClientSession
) -> None:
    other = RawServer(answer(b"there\n"))
    await other.start()
    server.answer = answer(b"", status=302, headers={"Location": f"http://127.0.0.1:{other.port}/metrics"})
    wanted = request(server, headers={"Authorization": "Bearer canary"})
    with pytest.raises(Unavailable, match=f"redirects to http://127.0.0.1:{other.port}, which is not followed"):
        await body_of(session, wanted)
    assert other.heads == []
    judged: list[URL] = []

    def hop(url: URL) -> Request:
        judged.append(url)
        return request(other, url=url)

    assert await body_of(session, replace(wanted, hop=hop)) == b"there\n"
    assert judged == [URL(f"http://127.0.0.1:{other.port}/metrics")]
    assert "canary" not in other.heads[0]
    await other.close()


async def test_redirects_in_a_circle_end(server: RawServer, session: aiohttp.ClientSession) -> None:
    server.answer = answer(b"", status=301, headers={"Location": "/metrics"})
    with pytest.raises(Unavailable, match="more than 3 redirects"):
        await body_of(session, request(server))
    assert len(server.heads) == 4


async def test_a_forbidden_address_is_not_connected_to(server: RawServer, names: Names) -> None:
    async with open_session(Addresses(allow_loopback=False), names) as session:
        for change in ({}, {"url": URL(f"http://a.invalid:{server.port}/"), "address": "127.0.0.1"}):
            with pytest.raises(Refused, match="loopback"):
                await body_of(session, request(server, **change))
    assert server.heads == []


# TLS


@pytest.fixture
async def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
async def tls_server(authority: trustme.CA) -> AsyncIterator[RawServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("metrics.argocd.svc").configure_cert(context)
    made = RawServer(answer(b"hello\n"))
    await made.start(tls=context)
    yield made
    await made.close()


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


async def test_tls_is_verified_by_the_name_though_the_address_is_connected_to(
    tls_server: RawServer, session: aiohttp.ClientSession, authority: trustme.CA
) -> None:
    for name in ("metrics.argocd.svc", "metrics.argocd.svc."):
        wanted = Request(
            url=URL(f"https://{name}:{tls_server.port}/"),
            address="127.0.0.1",
            where="the page",
            max_bytes=LIMIT,
            tls=trusting(authority),
        )
        assert await body_of(session, wanted) == b"hello\n"


@pytest.mark.parametrize(
    ("name", "trusted", "reason"),
    [
        pytest.param("other.argocd.svc", True, "TLS certificate is refused: Hostname mismatch", id="another name"),
        pytest.param("metrics.argocd.svc", False, "TLS certificate is refused: .*issuer", id="unknown authority"),
    ],
)
async def test_a_certificate_that_does_not_fit_is_a_fault(
    tls_server: RawServer,
    session: aiohttp.ClientSession,
    authority: trustme.CA,
    name: str,
    *,
    trusted: bool,
    reason: str,
) -> None:
    url = URL(f"https://{name}:{tls_server.port}/")
    tls = trusting(authority) if trusted else True
    with pytest.raises(Unavailable, match=reason):
        await body_of(session, Request(url=url, address="127.0.0.1", where="the page", max_bytes=LIMIT, tls=tls))
    assert tls_server.heads == []


async def test_https_on_a_port_that_speaks_http(session: aiohttp.ClientSession) -> None:
    controller = Controller(["a"])
    await controller.start()
    with pytest.raises(Unavailable, match="the page: no TLS connection"):
        await body_of(session, Request(url=URL(controller.url).with_scheme("https"), where="the page", max_bytes=LIMIT))
    await controller.close()


async def test_http_on_a_port_that_speaks_https(tls_server: RawServer, session: aiohttp.ClientSession) -> None:
    with pytest.raises(Unavailable, match=r"the page: .*(does the port speak|is it a port that speaks) https"):
        await body_of(session, request(tls_server))


@pytest.mark.parametrize(
    "said",
    [
        b"Client sent an HTTP request to an HTTPS server.\n",
        b"<center><h1>400 Bad Request</h1></center><center>The plain HTTP request was sent to HTTPS port</center>",
        b"Reason: You're speaking plain HTTP to an SSL-enabled server port.<br />",
        b"Bad Request\nThis combination of host and port requires TLS.\n",
    ],
    ids=["Go", "nginx", "Apache", "Tomcat"],
)
async def test_a_server_says_itself_that_a_port_speaks_https(
    server: RawServer, session: aiohttp.ClientSession, said: bytes
) -> None:
    server.answer = b"HTTP/1.0 400 Bad Request\r\n\r\n" + said
    with pytest.raises(Refused, match="this port speaks https, and the URL says http"):
        await body_of(session, request(server))


async def test_the_certificate_may_be_for_a_name_of_its_own(
    tls_server: RawServer, session: aiohttp.ClientSession, authority: trustme.CA
) -> None:
    url = URL(f"https://127.0.0.1:{tls_server.port}/")
    wanted = Request(url=url, where="the page", max_bytes=LIMIT, tls=trusting(authority))
    with pytest.raises(Unavailable, match=r"TLS certificate is refused: .*IP address mismatch"):
        await body_of(session, wanted)
    assert await body_of(session, replace(wanted, server_name="metrics.argocd.svc")) == b"hello\n"


async def test_a_redirect_from_https_to_http_is_a_fault(
    tls_server: RawServer, session: aiohttp.ClientSession, authority: trustme.CA
) -> None:
    tls_server.answer = answer(b"", status=302, headers={"Location": "http://metrics.argocd.svc/"})
    url = URL(f"https://metrics.argocd.svc:{tls_server.port}/")
    wanted = Request(url=url, address="127.0.0.1", where="the page", max_bytes=LIMIT, tls=trusting(authority))
    with pytest.raises(Unavailable, match="from https to http"):
        await body_of(session, wanted)


# Time and secrets


async def test_a_server_that_hangs_meets_the_deadline(server: RawServer, session: aiohttp.ClientSession) -> None:
    server.answer = None
    clock = ManualClock()

    async def ask() -> bytes:
        async with deadline(clock, 3, "the page"):
            return await body_of(session, request(server))

    asking = asyncio.create_task(ask())
    await asyncio.wait_for(server.asked.wait(), 5)
    await clock.advance(2.9)
    assert not asking.done()
    await clock.advance(0.2)
    with pytest.raises(Unavailable, match="the page: no complete answer within 3 s"):
        await asking
    assert clock.pending == 0


async def test_a_deadline_that_is_kept_leaves_nothing_behind() -> None:
    clock = ManualClock()
    async with deadline(clock, 3, "the page"):
        assert clock.pending == 1
    assert clock.pending == 0


@pytest.mark.parametrize(
    ("url", "plain", "authorization"),
    [
        pytest.param("http://h/p?q=1#f", "http://h/p?q=1", None, id="none"),
        pytest.param("http://us%65r:p%40ss@h:1/p", "http://h:1/p", "Basic dXNlcjpwQHNz", id="both"),
        pytest.param("http://user@h/p", "http://h/p", "Basic dXNlcjo=", id="no password"),
    ],
)
def test_credentials_leave_the_url(url: str, plain: str, authorization: str | None) -> None:
    found, headers = without_credentials(url)
    assert str(found) == plain
    assert headers.get("Authorization") == authorization


def test_a_url_is_shown_without_what_may_be_secret() -> None:
    assert shown(URL("https://user:canary@h:1/p?token=canary#canary")) == "https://h:1/p"


def test_a_request_does_not_show_its_headers() -> None:
    url, headers = without_credentials("http://user:canary@h/")
    assert "canary" not in repr(Request(url=url, headers=headers, where="x", max_bytes=1))
    assert "Authorization" not in repr(Request(url=url, headers=headers, where="x", max_bytes=1))
