"""Which host is asked, for how long, and what nobody is shown."""

import asyncio

import aiohttp
import idna
import pytest
from yarl import URL

from scaler.clients.http.addresses import Addresses
from scaler.clients.http.fetch import Request, checked_url, deadline, shown, without_credentials
from scaler.clients.http.names import Names
from scaler.clients.http.session import open_session
from scaler.core.errors import Refused, Unavailable
from scaler.demo.clock import ManualClock
from scaler.demo.raw_http import RawServer
from tests.clients.http.conftest import LIMIT, body_of, request


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


async def test_a_forbidden_address_is_not_connected_to(server: RawServer, names: Names) -> None:
    async with open_session(Addresses(allow_loopback=False), names) as session:
        for change in ({}, {"url": URL(f"http://a.invalid:{server.port}/"), "address": "127.0.0.1"}):
            with pytest.raises(Refused, match="loopback"):
                await body_of(session, request(server, **change))
    assert server.heads == []


@pytest.mark.parametrize(
    ("host", "taken"),
    [
        pytest.param("a" * 63 + "." + "b" * 63, True, id="long labels"),
        pytest.param("[2001:db8::1%25eth0]:80", True, id="an IPv6 address"),
        pytest.param("ü.example:8080", True, id="not ASCII"),
        pytest.param("u:p@" + "c." * 100 + "d", True, id="behind credentials"),
        pytest.param("a" * 64, False, id="a label too long"),
        pytest.param("a." * 130, False, id="a name too long"),
        pytest.param("ﷺ" * 4, False, id="a label that Unicode makes too long"),
        pytest.param("u:p@" + "ﷺ." * 100, False, id="a name that Unicode makes too long"),
        pytest.param("u:p@" + "ﷺ" * 2_600, False, id="one that took 0.2 s"),
        pytest.param("", False, id="none"),
    ],
)
def test_a_host_is_as_long_as_dns_allows(monkeypatch: pytest.MonkeyPatch, host: str, *, taken: bool) -> None:
    encoded = idna.encode
    monkeypatch.setattr(idna, "encode", lambda text, **how: encoded(text, **how) if taken else pytest.fail("encoded"))
    for path in ("", "/metrics//x", "?a=//b"):
        if taken:
            assert checked_url(f"http://{host}{path}") == f"http://{host}{path}"
        else:
            with pytest.raises(ValueError, match="http://HOST"):
                checked_url(f"http://{host}{path}")


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
