"""Pages by URL: every address of a name counts, credentials stay secret, and what a scrape costs is bounded."""

import asyncio
import gzip
import math
import time
from collections.abc import Sequence
from typing import Any

import pytest

from scaler.clients.http.addresses import Addresses
from scaler.clients.pages import kept
from scaler.clients.pages import reader as pages
from scaler.clients.pages.reader import PodPages, UrlPages
from scaler.core.budget import Budget
from scaler.core.errors import Refused, Unavailable
from scaler.core.tenant import TENANT
from scaler.demo.controllers import Controller
from scaler.demo.raw_http import RawServer, answer
from tests.clients.pages.conftest import WANTED, Reading, by_pod, port_of

# By URL


async def test_every_address_of_a_name_is_a_page(reading: Reading, pods: list[Controller]) -> None:
    reading.names.known = {"controller.ns.svc": ("127.0.0.1", "127.0.0.2", "127.0.0.3")}
    place = UrlPages(f"http://controller.ns.svc:{port_of(pods)}/metrics", WANTED)
    assert by_pod(await reading.one(place)) == {"127.0.0.1": 1, "127.0.0.2": 2, "127.0.0.3": 3}
    assert reading.counted == [(f"pages/controller.ns.svc:{port_of(pods)}", "GET", 3)]


async def test_one_address_that_cannot_be_read_is_a_fault(reading: Reading, pods: list[Controller]) -> None:
    reading.names.known = {"controller.ns.svc": ("127.0.0.1", "127.0.0.2", "127.0.0.3")}
    await pods[1].close()
    with pytest.raises(Unavailable, match=r"http://controller\.ns\.svc:\d+/metrics, 127\.0\.0\.2: no connection"):
        await reading.one(UrlPages(f"http://controller.ns.svc:{port_of(pods)}/metrics", WANTED))


@pytest.mark.parametrize("addresses", [(), None], ids=["empty", "no such name"])
async def test_a_name_without_address_is_a_fault(reading: Reading, addresses: Sequence[str] | None) -> None:
    name = "controller.invalid"
    if addresses is not None:
        reading.names.known = {name: addresses}
    with pytest.raises(Unavailable, match="no address; a controller at zero replicas has no page"):
        await reading.one(UrlPages(f"http://{name}/metrics", WANTED))


async def test_a_name_that_no_resolver_takes_is_a_fault(reading: Reading) -> None:
    with pytest.raises(Unavailable, match="no address"):
        await reading.one(UrlPages(f"http://{'a' * 64}.invalid/metrics", WANTED))


async def test_a_pod_with_two_addresses_is_read_once(reading: Reading, pods: list[Controller]) -> None:
    reading.names.known = {"controller.ns.svc": ("127.0.0.1", "127.0.0.2", "fd00::1", "fd00::2")}
    found = await reading.one(UrlPages(f"http://controller.ns.svc:{port_of(pods)}/metrics", WANTED))
    assert by_pod(found) == {"127.0.0.1": 1, "127.0.0.2": 2}


async def test_places_do_not_wait_for_each_other(reading: Reading, raw: RawServer, pods: list[Controller]) -> None:
    raw.answer = None
    slow, fast = UrlPages(f"http://127.0.0.1:{raw.port}/", WANTED), UrlPages(pods[0].url, WANTED)
    told: asyncio.Queue[tuple[Any, Any]] = asyncio.Queue()
    task = asyncio.create_task(reading.reader.read([slow, fast], lambda *report: told.put_nowait(report)))
    first, found = await asyncio.wait_for(told.get(), 5)
    assert (first, by_pod(found.value)) == (fast, {"127.0.0.1": 1})
    await reading.clock.advance(pages.SCRAPE_SECONDS)
    second, fault = await asyncio.wait_for(told.get(), 5)
    assert second == slow
    assert "127.0.0.1: no complete answer within 3 s" in str(fault)
    await task


async def test_too_many_pages_are_a_fault(
    reading: Reading, pods: list[Controller], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "MAX_PAGES", 2)
    reading.names.known = {"controller.ns.svc": ("127.0.0.1", "127.0.0.2", "127.0.0.3")}
    with pytest.raises(Unavailable, match=r"limit"):
        await reading.one(UrlPages(f"http://controller.ns.svc:{port_of(pods)}/metrics", WANTED))


async def test_a_forbidden_address_is_refused(raw: RawServer) -> None:
    reading = Reading()
    reading.reader = reading.made(Addresses(allow_loopback=False))
    with pytest.raises(Refused, match="loopback"):
        await reading.one(UrlPages(f"http://127.0.0.1:{raw.port}/metrics", WANTED))
    reading.names.known = {"a.svc": ["169.254.169.254"]}
    with pytest.raises(Refused, match="metadata"):
        await reading.one(UrlPages("http://a.svc/latest/meta-data", WANTED))
    assert raw.heads == []
    await reading.reader.close()


async def test_credentials_of_the_url_are_sent_and_never_shown(reading: Reading, raw: RawServer) -> None:
    place = UrlPages(f"http://user:canary@127.0.0.1:{raw.port}/metrics?token=canary", WANTED)
    await reading.one(place)
    assert "Authorization: Basic dXNlcjpjYW5hcnk=\r\n" in raw.heads[0]
    assert raw.heads[0].startswith("GET /metrics?token=canary ")
    raw.answer = answer(b"canary", status=401)
    with pytest.raises(Refused, match=r"HTTP 401.*`pages` of the configuration says which .* token") as refused:
        await reading.one(place)
    for text in (str(place), repr(place), place.backend, str(refused.value), str(reading.counted)):
        assert "canary" not in text


async def test_an_error_in_the_code_is_not_silent(reading: Reading) -> None:
    reading.kubernetes.objects = None  # type: ignore[method-assign,assignment] # what no caller does
    with pytest.raises(TypeError):
        await reading.read(PodPages("ns", "app=controller", 80, "/", WANTED))


# Cost


async def test_equal_pages_are_equal_readings(reading: Reading, pods: list[Controller]) -> None:
    place = UrlPages(pods[0].url, WANTED)
    assert await reading.one(place) == await reading.one(place)


async def test_what_is_kept_is_bounded_for_each_tenant_and_given_back(
    reading: Reading, raw: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "MAX_KEPT_BYTES", 100_000)
    reading.reader = reading.made()
    raw.answer = answer("".join(f'workqueue_depth{{name="q{n}"}} 1\n' for n in range(100)).encode())
    places = [UrlPages(f"http://127.0.0.1:{raw.port}/{number}", WANTED) for number in range(4)]
    TENANT.set("hostile")
    for _ in range(3):  # to read again takes no more
        assert len(await reading.one(places[0])) == 1
    await reading.one(places[1])
    with pytest.raises(Unavailable, match=r"namespace hostile, which holds .* share of 100000 bytes of sums of pages"):
        await reading.one(places[2])
    TENANT.set("shop")
    await reading.one(places[3])
    for place in places:
        reading.reader.forget(place)
    TENANT.set("hostile")
    for place in places[1:3]:
        assert len(await reading.one(place)) == 1


async def test_scrapes_beyond_the_share_wait_for_their_turn(reading: Reading, pods: list[Controller]) -> None:
    reading.budget = Budget(2 * pages.SCRAPE_BYTES)  # one at a time
    reading.reader = reading.made()
    reading.names.known = {"controller.ns.svc": ("127.0.0.1", "127.0.0.2", "127.0.0.3")}
    found = await reading.one(UrlPages(f"http://controller.ns.svc:{port_of(pods)}/metrics", WANTED))
    assert by_pod(found) == {"127.0.0.1": 1, "127.0.0.2": 2, "127.0.0.3": 3}
    assert reading.budget.total == 0


async def test_the_event_loop_is_never_held_up(reading: Reading, raw: RawServer) -> None:
    """Twenty thousand series of which all are wanted, compressed, beside a task that wants its turn all the time."""
    page = "".join(f'workqueue_depth{{name="queue-{n % 50}",filler="{"x" * 190}-{n}"}} 1\n' for n in range(20_000))
    raw.answer = answer(gzip.compress(page.encode(), 1), headers={"Content-Encoding": "gzip"})
    assert len(page) > 4_500_000
    place = UrlPages(f"http://127.0.0.1:{raw.port}/metrics", WANTED)

    async def held_up_during(work: Any) -> float:
        """Return the longest CPU time between two turns of this task, in seconds; the machine's other work is not ours."""
        task, longest = asyncio.ensure_future(work), 0.0
        while not task.done():
            started = time.process_time()
            await asyncio.sleep(0)
            longest = max(longest, time.process_time() - started)
        await task
        return longest

    assert min([await held_up_during(reading.one(place)) for _ in range(3)]) < 0.020
    (found,) = await reading.one(place)
    assert math.fsum(found.sums["workqueue_depth"].values()) == 20_000
