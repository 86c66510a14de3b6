"""Redirects: followed on the same host alone, and never with credentials elsewhere."""

from dataclasses import replace

import aiohttp
import idna
import pytest
from yarl import URL

from scaler.clients.http.fetch import Request
from scaler.core.errors import Unavailable
from scaler.demo.raw_http import RawServer, answer
from tests.clients.http.conftest import body_of, request


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
        pytest.param("http://ü/", id="a host that is not ASCII"),
    ],
)
async def test_a_redirect_elsewhere_is_a_fault(
    server: RawServer, session: aiohttp.ClientSession, location: str
) -> None:
    server.answer = answer(b"", status=302, headers={"Location": location.format(port=server.port)})
    with pytest.raises(Unavailable, match="redirect"):
        await body_of(session, request(server))
    assert len(server.heads) == 1 or location == ""


@pytest.mark.parametrize("location", ["http://{host}/", "ht\ttp://{host}/", "//{host}/", "http:\t//u@{host}/"])
async def test_no_host_of_a_redirect_is_encoded(
    server: RawServer, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch, location: str
) -> None:
    encoded: list[str] = []
    monkeypatch.setattr(idna, "encode", lambda host, **_: encoded.append(host))
    server.answer = answer(b"", status=302, headers={"Location": location.format(host="ﷺ" * 2_000)})
    with pytest.raises(Unavailable, match="redirect"):
        await body_of(session, request(server))
    assert encoded == []


async def test_a_redirect_may_have_a_path_that_is_not_ascii(server: RawServer, session: aiohttp.ClientSession) -> None:
    to = answer(b"", status=302, headers={"Location": "/ü b?c=%41"})
    server.answer = lambda head: answer(b"there\n") if head.startswith("GET /%C3%BC%20b?c=A ") else to
    assert await body_of(session, request(server)) == b"there\n"


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
