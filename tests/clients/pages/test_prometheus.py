"""A Prometheus as it is asked: by GET or POST, with its options, and what is told when it does not answer."""

import asyncio
import html
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import trustme
from pydantic import SecretStr, ValidationError

from scaler.clients.http.addresses import Addresses
from scaler.clients.http.reader import SECONDS
from scaler.clients.pages.exposition import Page
from scaler.clients.pages.prometheus import PrometheusReader
from scaler.clients.pages.prometheus_query import PrometheusPages
from scaler.clients.pages.settings import PrometheusServer
from scaler.core.errors import Fault, Refused, Throttled, Unavailable
from scaler.demo.clock import ManualClock
from scaler.demo.raw_http import RawServer, answer
from scaler.demo.reported import Reported
from scaler.sources.backends import Backends
from tests.clients.pages.vectors import FAMILIES, PLACE, row, vector


class Asking:
    """A reader of a raw server, by name or by URL."""

    def __init__(self, raw: RawServer, **settings: Any) -> None:
        self.raw, self.settings = raw, settings
        self.counted: list[tuple[str, str, int]] = []
        self.clock = ManualClock()
        self.reader = self.made()

    def made(self, addresses: Addresses | None = None) -> PrometheusReader:
        server = PrometheusServer(
            url=SecretStr(self.settings.pop("url", f"http://127.0.0.1:{self.raw.port}/prom")), **self.settings
        )
        return Backends(
            clock=self.clock,
            addresses=addresses or Addresses(),
            prometheus={"main": server},
            count_requests=lambda *counted: self.counted.append(counted),
        ).hand(PrometheusReader)

    async def ask(self, place: PrometheusPages = PLACE) -> tuple[Page, ...]:
        told = Reported()
        await self.reader.read([place], told)
        if isinstance(told[place], Fault):
            raise told[place]
        found: tuple[Page, ...] = told[place]
        return found


@pytest.fixture
async def raw() -> AsyncIterator[RawServer]:
    made = RawServer(answer(vector(row(name="a"))))
    await made.start()
    yield made
    await made.close()


@pytest.fixture
async def asking(raw: RawServer) -> AsyncIterator[Asking]:
    made = Asking(raw)
    yield made
    await made.reader.close()
    assert made.clock.pending == 0


async def test_a_short_query_goes_by_get(asking: Asking, raw: RawServer) -> None:
    assert await asking.ask() == (Page("", {"workqueue_depth": {"a": 3}}),)
    method, target, _ = raw.heads[0].split("\r\n")[0].split(" ")
    assert (method, urlsplit(target).path) == ("GET", "/prom/api/v1/query")
    assert parse_qs(urlsplit(target).query) == {"query": [PLACE.query()]}
    assert asking.counted == [("prometheus/main", "query", 1)]


async def test_tenants_and_options_go_with_every_query_and_are_never_told(raw: RawServer) -> None:
    canary = 'canary-"te\\nant"'
    asking = Asking(raw, headers={"X-Scope-OrgID": canary}, parameters={"dedup": "canary-parameter"})
    for selector in ("", f'job="{"x" * 900}"'):
        await asking.ask(PrometheusPages("main", "", selector, FAMILIES))
    assert [f"X-Scope-OrgID: {canary}\r\n" in head for head in raw.heads] == [True, True]
    assert "dedup=canary-parameter" in raw.heads[0]
    for body in (
        json.dumps({"status": "error", "error": f"no tenant {canary}, canary-parameter"}).encode(),
        f"<p>no tenant {html.escape(canary)}, canary-parameter</p>".encode(),
        f"no tenant {canary[:9]}".encode(),
    ):
        for status in (200, 400, 401, 500):
            raw.answer = answer(body, status=status)
            with pytest.raises(Fault) as fault:
                await asking.ask()
            assert "canary" not in str(fault.value)
            assert status == 200 or "no tenant" in str(fault.value)
    raw.answer = answer(vector(row(name="a"), warnings=[f"store of {canary} is away"]))
    with pytest.raises(Unavailable, match=r"may be partial: 'store of \*\*\* is away'"):
        await asking.ask()
    raw.answer = answer(vector(row(name="a"), infos=["not a counter"]))
    assert len(await asking.ask()) == 1
    await asking.reader.close()


async def test_a_long_query_goes_by_post(asking: Asking, raw: RawServer) -> None:
    selector = f'job="{"x" * 900}"'
    await asking.ask(PrometheusPages("main", "", selector, FAMILIES))
    assert raw.heads[0].startswith("POST /prom/api/v1/query HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("told", "fault", "reason"),
    [
        pytest.param(
            answer(b'{"status":"error","errorType":"bad_data","error":"bad regexp"}', status=400),
            Refused,
            "HTTP 400; the server says 'bad regexp'",
            id="a bad query",
        ),
        pytest.param(answer(b"nope", status=422), Refused, "HTTP 422; the server says 'nope'", id="422 without JSON"),
        pytest.param(
            answer(b"no org id\n", status=401),
            Refused,
            "HTTP 401.*`prometheus` of the configuration has headers, tokenFile.*the server says 'no org id'",
            id="tenants",
        ),
        pytest.param(answer(b"", status=500), Unavailable, "HTTP 500$", id="without a word"),
        pytest.param(answer(b"", status=401), Refused, "HTTP 401", id="401"),
        pytest.param(answer(b"", status=429), Throttled, "HTTP 429", id="429"),
        pytest.param(answer(b"", status=503), Unavailable, "HTTP 503", id="503"),
        pytest.param(answer(b" " * 600_000), Unavailable, "larger than 524288 bytes", id="too large"),
    ],
)
async def test_faults_name_the_server(
    asking: Asking, raw: RawServer, told: bytes, fault: type[Fault], reason: str
) -> None:
    raw.answer = told
    with pytest.raises(fault, match=f"^Prometheus main {{namespace=.*{reason}"):
        await asking.ask()


async def test_a_server_that_hangs_meets_the_deadline(asking: Asking, raw: RawServer) -> None:
    raw.answer = None
    task = asyncio.create_task(asking.ask())
    await asyncio.wait_for(raw.asked.wait(), 5)
    await asking.clock.advance(SECONDS)
    with pytest.raises(Unavailable, match=r"no complete answer within 4\.5 s"):
        await task


async def test_a_name_that_is_not_configured_is_refused(asking: Asking) -> None:
    with pytest.raises(Refused, match="the configuration has no server named other; it has: main"):
        await asking.ask(PrometheusPages("other", "", "", FAMILIES))


async def test_a_rotated_token_is_read_again(raw: RawServer, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("one\n")
    asking = Asking(raw, token_file=token)
    await asking.ask()
    token.write_text("two\n")
    await asking.ask()
    token.unlink()
    with pytest.raises(Unavailable, match=r"tokenFile, caFile or certFile cannot be used: .*token: No such file"):
        await asking.ask()
    assert [head.split("Authorization: ")[1].split("\r\n")[0] for head in raw.heads] == ["Bearer one", "Bearer two"]
    await asking.reader.close()


async def test_credentials_are_sent_and_never_shown(asking: Asking, raw: RawServer) -> None:
    place = PrometheusPages("", f"http://user:canary@127.0.0.1:{raw.port}", "", FAMILIES)
    await asking.ask(place)
    assert "Authorization: Basic dXNlcjpjYW5hcnk=\r\n" in raw.heads[0]
    raw.answer = answer(b"canary", status=401)
    with pytest.raises(Refused) as refused:
        await asking.ask(place)
    for text in (str(place), repr(place), place.backend, str(refused.value), str(asking.counted)):
        assert "canary" not in text
    assert str(place) == f"Prometheus http://127.0.0.1:{raw.port} {{}}"


@pytest.mark.parametrize("url", ["prometheus:9090", "ftp://canary@h", "http://", "http://canary:x:y@h:port/"])
def test_a_url_that_is_none_is_refused_with_the_configuration(url: str) -> None:
    with pytest.raises(ValidationError, match="http://HOST") as refused:
        PrometheusServer(url=SecretStr(url))
    assert "canary" not in str(refused.value)


async def test_a_forbidden_address_is_refused(raw: RawServer) -> None:
    asking = Asking(raw)
    asking.reader = asking.made(Addresses(allow_loopback=False))
    with pytest.raises(Refused, match="loopback"):
        await asking.ask()
    assert raw.heads == []
    await asking.reader.close()


async def test_the_authority_of_the_configuration_is_trusted(tmp_path: Path) -> None:
    authority = trustme.CA()
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    raw = RawServer(answer(vector(row(name="a"))))
    await raw.start(tls=context)
    for settings_, trusted in (({"ca_file": ca_file}, True), ({}, False)):
        asking = Asking(raw, url=f"https://localhost:{raw.port}", **settings_)
        if trusted:
            assert len(await asking.ask()) == 1
        else:
            with pytest.raises(Unavailable, match="TLS certificate is refused"):
                await asking.ask()
        await asking.reader.close()
    await raw.close()
