"""TLS: verified by the name though the address is connected to, and told where it is missing."""

import ssl
from collections.abc import AsyncIterator
from dataclasses import replace

import aiohttp
import pytest
import trustme
from yarl import URL

from scaler.clients.http.fetch import Request
from scaler.core.errors import Refused, Unavailable
from scaler.demo.controllers import Controller
from scaler.demo.raw_http import RawServer, answer
from tests.clients.http.conftest import LIMIT, body_of, request


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
