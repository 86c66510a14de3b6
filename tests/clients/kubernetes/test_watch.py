import asyncio
from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from scaler.clients.kubernetes.client import Kubernetes
from scaler.clients.kubernetes.objects import Objects
from scaler.core.errors import Throttled, Unavailable
from scaler.demo.clock import ManualClock
from scaler.demo.kubernetes import KubernetesDouble
from tests.clients.kubernetes.conftest import (
    ALL_PODS,
    EMPTY,
    PODS,
    Handler,
    OpenClient,
    Serve,
    Until,
    busy,
    release,
    releases,
    until_caught_up,
    until_fault,
    until_objects,
)


async def test_ended_watch_goes_on_where_it_was_and_is_believed_when_what_was_missed_has_had_time_to_arrive(
    double: KubernetesDouble, until: Until, open_client: OpenClient
) -> None:
    clock = ManualClock()
    async with open_client(double.url, clock) as client:
        await client.objects(releases())
        await clock.advance(5)

        double.end_watches()
        await until(lambda: double.requests["watch", "helmreleases"] == 2)
        double.put("helmreleases", release("a"))
        await until_caught_up(until, client, double, releases())
        asking = asyncio.create_task(client.objects(releases()))
        await clock.advance(0.2)
        assert not asking.done()
        await clock.advance(0.05)

        assert (await asking).objects == (("a", 0),)
        assert double.requests["list", "helmreleases"] == 1


async def test_watch_that_ends_at_once_is_not_opened_in_a_circle(
    until: Until, open_client: OpenClient, serve: Serve
) -> None:
    watches = 0

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal watches
        if "watch" not in request.query:
            return web.Response(text=EMPTY)
        watches += 1
        return web.Response()

    clock = ManualClock()
    async with serve(answer) as url, open_client(url, clock) as client:
        await client.objects(ALL_PODS)
        for _ in range(15):
            await clock.advance(1)
            await until(lambda: clock.pending == 1)  # the pause
    assert 4 <= watches <= 8  # pauses of 0.25, 0.5, 1, 2, 4, 8 s, less up to half


async def test_gone_version_lists_again(double: KubernetesDouble, client: Kubernetes) -> None:
    double.put("helmreleases", release("a"))
    double.put("helmreleases", release("b"))
    await until_objects(client, releases(), ("a", 0), ("b", 0))

    double.put("helmreleases", release("c"))
    double.delete("helmreleases", "flux", "a")
    double.store.compact()  # before the watch could tell: it ends with 410

    await until_objects(client, releases(), ("b", 0), ("c", 0))
    assert double.requests["list", "helmreleases"] == 2


async def test_gone_page_lists_from_the_start(double: KubernetesDouble, client: Kubernetes) -> None:
    for number in range(501):
        double.put("pods", release(f"p{number:04}"))

    def meddle(found: Mapping[str, Any]) -> str:
        if double.delete("pods", "flux", "p0000"):  # while the first page arrives
            double.store.compact()
        return str(found["metadata"]["name"])

    found = await client.objects(Objects(PODS, "", "", meddle))

    assert found.objects == tuple(f"p{number:04}" for number in range(1, 501))
    assert double.requests["list", "pods"] == 3  # the first page, the one that is gone, and all 500 that are left


GHOST = '{"kind":"PodList","items":[{"metadata":{"name":"ghost","namespace":"flux"},"spec":{"value":1}},{"metadata":'


@pytest.mark.parametrize(
    ("status", "text", "message", "lists"),
    [
        pytest.param(503, "", "503", 2, id="goes on at the page that broke"),
        pytest.param(200, GHOST, "a list that breaks off", 3, id="starts anew where objects may be wrong"),
    ],
)
async def test_broken_list(
    double: KubernetesDouble,
    open_client: OpenClient,
    serve: Serve,
    hang: Handler,
    *,
    status: int,
    text: str,
    message: str,
    lists: int,
) -> None:
    for number in range(501):
        double.put("pods", release(f"p{number:04}"))
    pages = 0

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal pages
        if request.query.get("watch"):
            return await hang(request)
        pages += 1
        if pages == 2:
            return web.Response(status=status, text=text)
        async with aiohttp.ClientSession() as session, session.get(double.url + request.path_qs) as answered:
            return web.Response(body=await answered.read())

    clock, known = ManualClock(), asyncio.Event()
    async with serve(answer) as url, open_client(url, clock) as client:
        with pytest.raises(Unavailable, match=message):
            await client.objects(ALL_PODS, changed=known.set)
        async with asyncio.timeout(10):
            while not known.is_set():
                await clock.advance(0.25)
                await asyncio.sleep(0.002)

        assert (await client.objects(ALL_PODS)).objects == tuple((f"p{number:04}", 0) for number in range(501))
    assert double.requests["list", "pods"] == lists


async def test_silent_watch_is_opened_again_without_a_list(
    double: KubernetesDouble, until: Until, open_client: OpenClient
) -> None:
    clock = ManualClock()
    double.put("helmreleases", release("a"))
    async with open_client(double.url, clock, watch_silence_seconds=30) as client:
        await client.objects(releases())

        await clock.advance(29)
        assert double.requests["watch", "helmreleases"] == 1
        await clock.advance(1)
        await until(lambda: double.requests["watch", "helmreleases"] == 2)
        await until(lambda: clock.pending == 2)  # to be confirmed, and to be silent
        await clock.advance(0.25)

        assert (await client.objects(releases())).objects == (("a", 0),)
        assert double.requests["list", "helmreleases"] == 1


async def test_server_away_for_minutes_is_a_fault_and_then_recovers_with_a_hint(open_client: OpenClient) -> None:
    clock, told = ManualClock(), []
    double = KubernetesDouble()
    url = await double.start()
    port = int(url.rpartition(":")[2])
    async with open_client(url, clock) as client:
        double.put("helmreleases", release("a"))
        await client.objects(releases(), user="reader", changed=lambda: told.append(clock.now()))
        await clock.advance(1)

        await double.stop()
        double.put("helmreleases", release("b"))
        for _ in range(60):
            await clock.advance(5)
            await asyncio.sleep(0.001)
        with pytest.raises(Unavailable, match=r"cannot connect \(Connection refused\)"):
            await client.objects(releases())

        told.clear()
        await double.start(port)
        async with asyncio.timeout(10):
            while not told:
                await clock.advance(0.1)
                await asyncio.sleep(0.002)

        assert set((await client.objects(releases())).objects) == {("a", 0), ("b", 0)}
        assert double.requests["list", "helmreleases"] == 1
    await double.stop()


async def test_slow_list_is_told_and_goes_on_loading(open_client: OpenClient, serve: Serve, hang: Handler) -> None:
    slow = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        if "watch" in request.query:
            return await hang(request)
        await slow.wait()
        return web.Response(text=EMPTY)

    clock = ManualClock()
    async with serve(answer) as url, open_client(url, clock) as client:
        waiting = asyncio.create_task(client.objects(ALL_PODS))
        await clock.advance(4.5)
        with pytest.raises(Unavailable, match="the list is still running, 0 objects so far"):
            await waiting

        slow.set()
        assert (await client.objects(ALL_PODS)).objects == ()


async def test_api_that_is_busy_is_left_alone_for_as_long_as_it_asks(
    until: Until, open_client: OpenClient, serve: Serve
) -> None:
    lists = 0

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal lists
        lists += 1
        return await busy(request)

    clock = ManualClock()
    async with serve(answer) as url, open_client(url, clock) as client:
        with pytest.raises(Throttled):
            await client.objects(ALL_PODS)
        await clock.advance(19.9)
        assert lists == 1
        await clock.advance(0.2)
        await until(lambda: lists == 2)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        pytest.param(
            '{"type":"ADDED","object":{"metadata":{"name":"a"}}}', "an event without resourceVersion", id="no version"
        ),
        pytest.param('{"type":"MODIFIED"', "not JSON", id="garbage"),
        pytest.param('{"type":"ERROR","object":{"code":500,"message":"sick"}}', "failed (500): sick", id="error"),
    ],
)
async def test_garbage_on_a_watch_is_a_fault(line: str, message: str, open_client: OpenClient, serve: Serve) -> None:
    bad = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            return web.Response(text=EMPTY)
        response = web.StreamResponse()
        await response.prepare(request)
        await bad.wait()
        await response.write(f"{line}\n".encode())
        await asyncio.Event().wait()
        return response

    async with serve(answer) as url, open_client(url) as client:
        assert (await client.objects(ALL_PODS)).objects == ()
        bad.set()
        fault = await until_fault(client, ALL_PODS)

    assert isinstance(fault, Unavailable)
    assert "watch pods in all namespaces" in str(fault)
    assert message in str(fault)


async def test_object_that_the_projection_does_not_understand_is_a_fault_that_names_it(
    double: KubernetesDouble, client: Kubernetes
) -> None:
    double.put("helmreleases", release("good"))
    double.put("helmreleases", release("odd") | {"spec": {"secret": "c4n4ry"}})

    with pytest.raises(Unavailable, match=r"flux/odd cannot be understood \(KeyError\)") as fault:
        await client.objects(releases())
    assert "c4n4ry" not in str(fault.value)

    double.put("helmreleases", release("odd", 1))
    await until_objects(client, releases(), ("good", 0), ("odd", 1), despite=(Unavailable,))

    double.put("helmreleases", release("odd") | {"spec": {}})
    await until_fault(client, releases())
    double.delete("helmreleases", "flux", "odd")
    await until_objects(client, releases(), ("good", 0), despite=(Unavailable,))
