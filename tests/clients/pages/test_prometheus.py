import asyncio
import html
import json
import math
import ssl
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import promql_parser
import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from scaler.clients.http.addresses import Addresses
from scaler.clients.http.reader import SECONDS
from scaler.clients.pages.exposition import Family, Page
from scaler.clients.pages.prometheus import PrometheusReader, pages_of
from scaler.clients.pages.prometheus_query import PrometheusPages, label_matchers
from scaler.clients.pages.settings import PrometheusServer
from scaler.core.errors import Fault, Refused, Throttled, Unavailable
from scaler.demo.clock import ManualClock
from scaler.demo.raw_http import RawServer, answer
from scaler.demo.reported import Reported
from scaler.sources.backends import Backends

FAMILIES = frozenset({Family("workqueue_depth", ("name", "controller")), Family("active", ("controller",))})
SELECTOR = 'namespace="argocd",job=~"argocd-.*"'
PLACE = PrometheusPages("main", "", SELECTOR, FAMILIES)


def row(value: str = "3", **labels: str) -> dict[str, Any]:
    return {"metric": {"__name__": "workqueue_depth", "job": "argocd", **labels}, "value": [1_800_000_000.1, value]}


def vector(*rows: Mapping[str, Any], **more: Any) -> bytes:
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": rows}, **more}).encode()


# The query


@pytest.mark.parametrize(
    ("selector", "matchers"),
    [
        pytest.param("", "", id="none"),
        pytest.param("{}", "", id="empty braces"),
        pytest.param(SELECTOR, SELECTOR, id="two"),
        pytest.param(' { a = "1" , b!~ "2|3", } ', 'a="1",b!~"2|3"', id="braces, blanks and a comma at the end"),
        pytest.param(r'a=~"x\\.y\"z"', r'a=~"x\\.y\"z"', id="escapes"),
        pytest.param('a="} or vector(0) #"', 'a="} or vector(0) #"', id="what is quoted is only a value"),
    ],
)
def test_matchers_are_taken_as_they_are(selector: str, matchers: str) -> None:
    assert label_matchers(selector) == matchers


@pytest.mark.parametrize(
    "selector",
    [
        'a="b"} or vector(0) or x{c="d"',
        'a="b") or vector(0',
        'a="b" or c="d"',
        'a="b""',
        'a="b\\',
        'a="b\\"',
        'a="b\n"',
        r'a="\x22"',
        "a='b'",
        "a=b",
        "a",
        ",",
        'a="b",,c="d"',
        '{a="b"',
        '__name__="other"',
        'a="' + "b" * 1000 + '"',
    ],
)
def test_what_is_more_than_matchers_is_refused(selector: str) -> None:
    with pytest.raises(ValueError, match="label matchers in double quotes"):
        label_matchers(selector)


@settings(deadline=None)
@given(st.text('ab="\\{}(),=~! \n', max_size=30) | st.text(max_size=20))
def test_no_selector_breaks_out_of_its_braces(selector: str) -> None:
    try:
        matchers = label_matchers(selector)
    except ValueError:
        return
    parsed = promql_parser.parse(f"up{{{matchers}}}")
    assert isinstance(parsed, promql_parser.VectorSelector)
    assert label_matchers(matchers) == matchers


def test_the_query_asks_for_sums_and_for_targets_that_are_down_and_samples_that_are_old() -> None:
    series = '{__name__=~"active|workqueue_depth",namespace="argocd",job=~"argocd-.*"}'
    also_who_leads = series.replace("active|", "active|leader_election_master_status|process_start_time_seconds|")
    old = (
        "label_replace(max by (instance, job, pod) (time() - "
        'timestamp({}{{namespace="argocd",job=~"argocd-.*"}})) > 150, "queue_scaler_stale", "true", "", "")'
    )
    assert PLACE.query() == (
        f"sum by (__name__, controller, instance, job, name, pod) ({also_who_leads}) "
        f'or ((up{{namespace="argocd",job=~"argocd-.*"}} == 0) and on (job) '
        f"({series} or {series} offset 5m or {series} offset 30m or {series} offset 2h)) "
        f"or {old.format('active')} or {old.format('workqueue_depth')}"
    )
    everything = PrometheusPages("main", "", "", FAMILIES)
    for place in (PLACE, everything):
        parsed = promql_parser.parse(place.query())
        assert isinstance(parsed, promql_parser.BinaryExpr)
        assert str(parsed.op) == "or"


# The answer


def test_series_become_one_page_for_each_target() -> None:
    body = vector(
        row("3", pod="p-1", instance="10.0.0.2:8082", name="a", controller="b"),
        row("4", pod="p-1", instance="10.0.0.2:8082", controller="a"),
        {
            "metric": {"__name__": "active", "job": "argocd", "pod": "p-1", "instance": "10.0.0.2:8082"},
            "value": [1, "2"],
        },
        row("1.5e1", instance="10.0.0.1:8082", name="a"),
    )
    assert pages_of(PLACE, body) == (
        Page("10.0.0.1:8082", {"workqueue_depth": {"a": 15}}),
        Page("p-1", {"workqueue_depth": {"a": 7}, "active": {"": 2}}),
    )


@pytest.mark.parametrize("value", ["NaN", "-1", "+Inf"])
def test_what_is_no_count_makes_the_sum_none(value: str) -> None:
    (page,) = pages_of(PLACE, vector(row(value, name="a"), row("3", controller="a")))
    assert math.isnan(page.sums["workqueue_depth"]["a"])


OLD = {
    "metric": {"instance": "10.0.0.9:8082", "job": "argocd", "queue_scaler_stale": "true"},
    "value": [1, "151.2"],
}
UP = {"metric": {"__name__": "up", "instance": "10.0.0.9:8082", "job": "argocd"}, "value": [1, "0"]}


def test_a_standby_does_not_count_in_prometheus_either() -> None:
    def leader(pod: str, value: str) -> dict[str, Any]:
        return {"metric": {"__name__": "leader_election_master_status", "pod": pod}, "value": [1, value]}

    def depth(pod: str, value: str) -> dict[str, Any]:
        return {"metric": {"__name__": "workqueue_depth", "pod": pod, "name": "a"}, "value": [1, value]}

    both = [depth("c-0", "7"), depth("c-1", "0")]
    first, second = pages_of(PLACE, vector(*both, leader("c-0", "1"), leader("c-1", "0")))
    assert first.sums["workqueue_depth"] == {"a": 7}
    assert second.sums == {"leader_election_master_status": {"": 0}}
    with pytest.raises(Unavailable, match="none of 2 pods leads"):
        pages_of(PLACE, vector(*both, leader("c-0", "0"), leader("c-1", "0")))
    with pytest.raises(Unavailable, match="no series of"):  # a broad selector: others that only tell who leads
        pages_of(PLACE, vector(leader("other", "1")))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        pytest.param(vector(), "no series of active or workqueue_depth", id="no series"),
        pytest.param(vector(row(name="a"), UP), "cannot scrape 10.0.0.9:8082 of job argocd", id="a target is down"),
        pytest.param(
            vector(row(name="a"), OLD), "sample of 10.0.0.9:8082 of job argocd is 151 s old", id="old samples"
        ),
        pytest.param(vector(row(name="a"), warnings=["no store"]), "may be partial: 'no store'", id="warnings"),
        pytest.param(vector(row(name="a"), isPartial=True), "may be partial", id="partial"),
        pytest.param(b'{"status":"error","errorType":"timeout","error":"too slow"}', "failed: 'too slow'", id="error"),
        pytest.param(b'{"status":"success"}', "failed", id="no data"),
        pytest.param(
            b'{"status":"success","data":{"resultType":"scalar","result":[1,"0"]}}', "not that of", id="no vector"
        ),
        pytest.param(b"<html></html>", "not that of", id="no JSON"),
        pytest.param(vector(row(name="a"))[:-9], "not that of", id="cut short"),
        pytest.param(b"[" * 50_000, "not that of", id="nested"),
        pytest.param(vector(row("x", name="a")), "not understood", id="no number"),
        pytest.param(vector({"metric": {"__name__": "workqueue_depth"}}), "not understood", id="no value"),
        pytest.param(vector({"metric": {"__name__": "other"}, "value": [1, "0"]}), "not understood", id="another"),
        pytest.param(vector({"metric": {}, "value": [1, "0"]}), "not understood", id="no name"),
        pytest.param(vector({"metric": ["__name__"], "value": [1, "0"]}), "not understood", id="no labels"),
        pytest.param(
            b'{"status":"success","data":{"resultType":"vector","result":[7]}}', "not understood", id="no row"
        ),
    ],
)
def test_an_answer_that_may_lack_something_is_a_fault(body: bytes, reason: str) -> None:
    with pytest.raises(Unavailable, match=f"^Prometheus main {{.*{reason}"):
        pages_of(PLACE, body)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["metric", "value", "__name__"]), inner)
    ),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.lists(JSON, max_size=3))
def test_no_answer_does_more_than_be_refused(rows: list[Any]) -> None:
    try:
        found = pages_of(PLACE, vector(*rows))
    except Unavailable:
        return
    assert all(
        value >= 0 or math.isnan(value) for page in found for sums in page.sums.values() for value in sums.values()
    )


# The reader


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
    with pytest.raises(Refused, match="'other' is not in the configuration, which has main"):
        await asking.ask(PrometheusPages("other", "", "", FAMILIES))


async def test_a_rotated_token_is_read_again(raw: RawServer, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("one\n")
    asking = Asking(raw, token_file=token)
    await asking.ask()
    token.write_text("two\n")
    await asking.ask()
    token.unlink()
    with pytest.raises(Unavailable, match="tokenFile, caFile or certFile cannot be read"):
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
