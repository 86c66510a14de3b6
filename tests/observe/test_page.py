"""The status page and its API over HTTP."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from scaler.core.errors import SettingsError, Unavailable
from scaler.demo.clock import ManualClock
from scaler.demo.scripted import ScriptedReader, Work

HOSTILE = "<script>alert('x')</script>"
CANARY = "canary-6f1d"


@pytest.fixture
def visit(serve: Any, clock: ManualClock) -> Any:
    """Open a site with the settings given; `site.ask` is KEDA's GetMetrics."""

    @asynccontextmanager
    async def visiting(**settings: Any) -> AsyncIterator[Site]:
        async with (
            serve(**{"page": {}, **settings}) as client,
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
        ):
            yield Site(client.server, session, clock)

    return visiting


class Site:
    def __init__(self, server: Any, session: aiohttp.ClientSession, clock: ManualClock) -> None:
        self.server, self.session, self.clock = server, session, clock
        self.url = f"http://127.0.0.1:{server.http_port}"

    async def ask(self, name: str, spots: str = "a", namespace: str = "shop", **metadata: str) -> None:
        scaled_object = self.server.registry.find(namespace, name, {"source": "scripted", "spots": spots, **metadata})
        asking = asyncio.ensure_future(self.server.answers.answer(scaled_object, 1.9))
        await self.clock.advance(2)
        await asyncio.gather(asking, return_exceptions=True)

    async def get(self, path: str, **kwargs: Any) -> tuple[int, str, Any]:
        async with self.session.get(self.url + path, allow_redirects=False, **kwargs) as answer:
            return answer.status, await answer.text(), answer.headers

    async def json(self, path: str) -> Any:
        status, text, _ = await self.get(path)
        assert status == 200
        return json.loads(text)


async def test_the_table_and_its_json_say_the_same(visit: Any, reader: ScriptedReader) -> None:
    reader.answers |= {"a": Work(12), "b": Unavailable("spot b: no route")}
    async with visit() as site:
        await site.ask("orders", "a")
        await site.ask("mails", "b")
        status, text, _ = await site.get("/")
        assert (status, text.count('role="rowheader"')) == (200, 2)
        assert "<strong>12</strong> / 5" in text
        assert "spot b: no route" in text
        said = await site.json("/api/scaledobjects")
        assert {state: count for state, count in said["states"].items() if count} == {"error": 1, "active": 1}
        mails, orders = said["items"]
        assert mails["error"] == {"code": "UNAVAILABLE", "message": "spot b: no route"}
        assert (orders["state"], orders["metrics"][0]["value"], orders["stale"]) == ("active", 12, False)
        assert orders["recent"]["series"]["value"][-1] == 12
        assert len(orders["recent"]["series"]["value"]) == 120


async def test_queries_reach_the_page_and_the_api(visit: Any, reader: ScriptedReader) -> None:
    async with visit() as site:
        for index in range(3):
            reader.answers[f"s{index}"] = Work(index)
            await site.ask(f"orders-{index}", f"s{index}")
        said = await site.json("/api/scaledobjects?state=active&sort=-value&limit=1&page=2")
        assert (said["total"], said["matched"], said["page"], said["pages"]) == (3, 2, 2, 2)
        assert [item["name"] for item in said["items"]] == ["orders-1"]
        _, text, _ = await site.get("/?q=ORDERS-2")
        assert "orders-2" in text
        assert "orders-1" not in text
        assert (await site.get("/api/scaledobjects?page=no"))[0] == 400
        status, text, _ = await site.get("/?sort=no")
        assert status == 400
        assert "sort: must be one of" in text


async def test_a_part_for_htmx_is_the_table_alone(visit: Any) -> None:
    async with visit() as site:
        await site.ask("orders")
        _, text, _ = await site.get("/", headers={"HX-Request": "true"})
        assert text.strip().startswith('<div id="live"')
        assert "<html" not in text
        assert "orders" in text


async def test_a_reading_is_stale_while_its_backend_fails_and_when_nobody_asks(
    visit: Any, reader: ScriptedReader
) -> None:
    async with visit() as site:
        await site.ask("orders", "a")
        reader.answers["a"] = Unavailable("spot a: gone")
        await site.clock.advance(11)
        (item,) = (await site.json("/api/scaledobjects?state=stale"))["items"]
        assert (item["state"], item["fault"], item["error"]) == ("inactive", "spot a: gone", None)
        _, text, _ = await site.get("/scaledobjects/shop/orders")
        assert "its backend fails: spot a: gone" in text
    async with visit() as site:
        reader.answers["a"] = Work(1)
        await site.ask("orders", "a")
        await site.clock.advance(300)
        (item,) = (await site.json("/api/scaledobjects?state=stale"))["items"]
        assert item["readingAge"] >= 300
        assert "Nobody has asked for a while" in (await site.get("/scaledobjects/shop/orders"))[1]


async def test_a_scaled_object_has_a_page_with_all_of_its_triggers(visit: Any, reader: ScriptedReader) -> None:
    reader.answers |= {"a": Work(3), "b": Work(0)}
    async with visit() as site:
        await site.ask("orders", "a")
        await site.ask("orders", "b", second="2")
        _, text, _ = await site.get("/scaledobjects/shop/orders")
        assert text.count('<section class="trigger"') == 2
        assert "3 to do" in text
        said = await site.json("/api/scaledobjects/shop/orders")
        assert [trigger["reasons"] for trigger in said["triggers"]] == [["3 to do"], ["0 to do"]]
        for path in (
            "/scaledobjects/shop/none",
            "/api/scaledobjects/shop/none",
            "/backends/none",
            "/api/backends/none",
        ):
            assert (await site.get(path))[0] == 404


async def test_a_backend_has_a_page_with_latency_faults_requests_and_its_bill(
    visit: Any, reader: ScriptedReader
) -> None:
    reader.answers |= {"b": Unavailable("spot b: no route")}
    async with visit(cost={"sqs_price_per_million": 0.5, "price_date": "2031-02"}) as site:
        await site.ask("orders", "a@one")
        await site.ask("mails", "b@one")
        site.server.metrics.requests("sqs/own-account/eu-west-1", "GetQueueAttributes", 100)
        await site.clock.advance(100)
        said = await site.json("/api/backends")
        by_name = {item["backend"]: item for item in said["items"]}
        assert (by_name["scripted/one"]["places"], by_name["scripted/one"]["failing"]) == (2, 1)
        assert by_name["scripted/one"]["faults"] > 0
        assert by_name["scripted/one"]["dollarsPerMonth"] is None
        bill = by_name["sqs/own-account/eu-west-1"]
        assert bill["requestsPerHour"] == pytest.approx(3_600)
        assert bill["dollarsPerMonth"] == pytest.approx(3_600 * 730 * 0.5 / 1e6)
        _, text, _ = await site.get("/backends/sqs/own-account/eu-west-1")
        assert "$1.31" in text
        assert "2031-02" in text
        assert "spot b: no route" in (await site.get("/backends/scripted/one"))[1]
        details = await site.json("/api/backends/scripted/one")
        assert [place["fault"] for place in details["placeDetails"]] == ["spot b: no route", None]
        _, metrics, _ = await site.get("/metrics")
        assert 'queue_scaler_estimated_sqs_dollars_per_month{backend="sqs/own-account/eu-west-1"} 1.3' in metrics
        assert 'queue_scaler_upstream_requests_per_hour{backend="sqs/own-account/eu-west-1"} 3600.0' in metrics


async def test_what_tenants_write_is_text(visit: Any, reader: ScriptedReader) -> None:
    reader.answers["a"] = Unavailable(f"spot: {HOSTILE}")
    async with visit() as site:
        await site.ask(HOSTILE, "a", namespace=HOSTILE)
        await site.ask('"><b>', f"{HOSTILE}@{HOSTILE}")
        paths = [f"/?q={HOSTILE}", "/backends", f"/?q=none{HOSTILE}"]
        for item in (await site.json("/api/scaledobjects"))["items"]:
            paths += [f"/backends/{place['backend']}" for place in item["places"]]
        quoted = "%3Cscript%3Ealert('x')%3C%2Fscript%3E"
        paths.append(f"/scaledobjects/{quoted}/{quoted}")
        for path in paths:
            status, text, _ = await site.get(path)
            assert status == 200, path
            assert "alert(" in text, path
            assert HOSTILE not in text
            assert "<b>" not in text


async def test_no_secret_of_the_metadata_is_shown(visit: Any) -> None:
    url = f"redis://user:{CANARY}@127.0.0.1:1/0"
    async with visit() as site:
        scaled_object = site.server.registry.find(
            "shop", "workers", {"source": "sidekiq", "redisURL": url, "queues": "q"}
        )
        assert CANARY.encode() in scaled_object.key
        for path in (
            "/",
            "/api/scaledobjects",
            "/scaledobjects/shop/workers",
            "/api/backends",
            "/backends",
            "/metrics",
        ):
            status, text, _ = await site.get(path)
            assert status == 200
            assert CANARY not in text


async def test_every_answer_is_locked_down(visit: Any) -> None:
    async with visit() as site:
        for path in ("/", "/backends", "/api/scaledobjects", "/nowhere", "/?sort=no", "/static/page.js"):
            _, text, headers = await site.get(path)
            policy = headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert "frame-ancestors 'none'" in policy
            assert headers["X-Frame-Options"] == "DENY"
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Cache-Control"] == ("no-cache" if path.startswith("/static") else "no-store")
            assert " style=" not in text
            assert "<script>" not in text
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            for path in ("/", "/api/scaledobjects", "/backends", "/static/page.js", "/events"):
                async with site.session.request(method, site.url + path) as answer:
                    assert answer.status == 405
        async with site.session.head(site.url + "/") as answer:
            assert answer.status == 200


async def test_the_files_of_the_page_come_from_the_package_with_their_licences(visit: Any) -> None:
    async with visit() as site:
        _, text, _ = await site.get("/")
        wanted = [part.partition('"')[0] for part in text.replace('src="', 'href="').split('href="/static/')[1:]]
        assert len(wanted) >= 6
        for name in wanted:
            assert (await site.get(f"/static/{name}"))[0] == 200, name
        for name in ("htmx", "uplot"):
            assert "WARRANT" in (await site.get(f"/static/vendor/{name}-LICENSE.txt"))[1]
        assert (await site.get("/static/../guard.py"))[0] == 404
        assert (await site.get("/static/%2e%2e/guard.py"))[0] in {403, 404}


async def test_the_page_can_be_left_out(visit: Any) -> None:
    async with visit(page={"enabled": False}) as site:
        for path in ("/", "/api/scaledobjects", "/static/page.js", "/events"):
            assert (await site.get(path))[0] == 404
        assert (await site.get("/healthz"))[0] == 200


async def test_a_token_guards_the_page_but_not_the_probes(visit: Any, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{CANARY}\n")
    async with visit(page={"token_file": file}) as site:
        guarded = ("/", "/api/scaledobjects", "/api/backends", "/backends", "/events", "/scaledobjects/a/b", "/nowhere")
        for path in guarded:
            assert (await site.get(path))[0] == 401, path
            assert (await site.get(path, headers={"Authorization": "Bearer nope"}))[0] == 401
            assert (await site.get(path, headers={"Cookie": f"queue_scaler_page={CANARY}"}))[0] == 401
        for path in ("/metrics", "/healthz", "/readyz", "/static/page.css"):
            assert (await site.get(path))[0] == 200, path
        bearer = {"Authorization": f"Bearer {CANARY}"}
        assert (await site.get("/api/scaledobjects", headers=bearer))[0] == 200

        status, text, headers = await site.get(f"/backends?token={CANARY}")
        assert status == 200
        assert CANARY not in text
        assert 'content="0; url=/backends"' in text
        cookie = headers["Set-Cookie"]
        assert CANARY not in cookie
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        kept = {"Cookie": cookie.partition(";")[0]}
        assert (await site.get("/", headers=kept))[0] == 200
        assert (await site.get("/?token=wrong"))[0] == 401

        file.write_text("rotated")
        assert (await site.get("/", headers=kept))[0] == 401
        assert (await site.get("/", headers=bearer))[0] == 401
        assert (await site.get("/", headers={"Authorization": "Bearer rotated"}))[0] == 200
        for content in ("", " \n"):
            file.write_text(content)
            assert (await site.get("/", headers={"Authorization": "Bearer "}))[0] == 401
            assert (await site.get("/?token="))[0] == 401
        file.unlink()
        assert (await site.get("/", headers={"Authorization": "Bearer rotated"}))[0] == 401


async def test_a_token_file_that_cannot_be_read_stops_the_start(visit: Any, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"page\.tokenFile: .*/none cannot be read"):
        async with visit(page={"token_file": tmp_path / "none"}):
            pass


async def test_events_come_every_two_seconds_and_end_with_the_server(visit: Any, clock: ManualClock) -> None:
    async with visit() as site, site.session.get(f"{site.url}/events") as answer:
        assert answer.headers["Content-Type"] == "text/event-stream"
        event = b"event: refresh\ndata: now\n\n"
        assert await answer.content.readexactly(len(event)) == event
        await clock.advance(2)
        assert await asyncio.wait_for(answer.content.readexactly(len(event)), 5) == event
        await asyncio.wait_for(site.server.close(), 5)
        with pytest.raises(aiohttp.ClientPayloadError):
            await asyncio.wait_for(answer.content.read(), 5)
