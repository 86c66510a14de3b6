import asyncio

import pytest
from aiohttp import web

from scaler.clients.kubernetes.client import Kubernetes
from scaler.clients.kubernetes.objects import Objects
from scaler.core.errors import Fault, Refused, Throttled, Unavailable
from scaler.demo.clock import ManualClock
from scaler.demo.kubernetes import KINDS, KubernetesDouble
from scaler.demo.kubernetes_store import Kind
from tests.clients.kubernetes.conftest import (
    ALL_PODS,
    EMPTY,
    PODS,
    Handler,
    OpenClient,
    Serve,
    Until,
    busy,
    project,
    release,
    releases,
)


async def redirect(_request: web.Request) -> web.StreamResponse:
    return web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"})


async def page_in_half(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b'{"kind":"PodList","items":[')
    assert request.transport is not None
    request.transport.close()
    return response


def answering(text: str, status: int = 200) -> Handler:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(text=text, status=status)

    return answer


@pytest.mark.parametrize(
    ("handler", "kind", "message"),
    [
        pytest.param(redirect, Unavailable, "failed (302)", id="redirect"),
        pytest.param(busy, Throttled, "too many requests (429)", id="busy"),
        pytest.param(page_in_half, Unavailable, "broke off", id="cut by the connection"),
        pytest.param(answering(EMPTY[:-5]), Unavailable, "a list that breaks off", id="cut by a proxy"),
        pytest.param(answering("<html>"), Unavailable, "not JSON", id="garbage"),
        pytest.param(answering('{"message":"etcd is sick"}', 500), Unavailable, "(500): etcd is sick", id="500"),
        pytest.param(answering('{"message":"bad selector"}', 400), Refused, "(400): bad selector", id="400"),
        pytest.param(
            answering('{"kind":"PodList","metadata":{"resourceVersion":"7"},"items":[{}]}'),
            Unavailable,
            "an object without metadata",
            id="no object",
        ),
    ],
)
async def test_what_is_no_list_is_a_fault_and_never_an_empty_list(
    handler: Handler, kind: type[Fault], message: str, open_client: OpenClient, serve: Serve
) -> None:
    async with serve(handler) as url, open_client(url) as client:
        with pytest.raises(kind) as fault:
            await client.objects(ALL_PODS)

    assert str(fault.value).startswith(f"Kubernetes API {url}: list pods in all namespaces: ")
    assert message in str(fault.value)


async def test_hung_list_is_a_fault(open_client: OpenClient, serve: Serve, hang: Handler) -> None:
    asked = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.set()
        return await hang(request)

    clock = ManualClock()
    async with serve(answer) as url, open_client(url, clock) as client:
        waiting = asyncio.create_task(client.objects(ALL_PODS, timeout_seconds=60))
        await asked.wait()
        await clock.advance(10)
        with pytest.raises(Unavailable, match="list pods in all namespaces: no answer within 10 s"):
            await waiting


async def test_version_is_discovered_in_the_order_of_preference(open_client: OpenClient) -> None:
    old = Kind("helm.toolkit.fluxcd.io", "v2beta2", "HelmRelease", "helmreleases")
    other = Kind("helm.toolkit.fluxcd.io", "v2", "Other", "others")  # v2 is served, but not with this kind
    double = KubernetesDouble((other, old))
    url = await double.start()
    double.put("helmreleases", release("a"))
    async with open_client(url) as client:
        assert (await client.objects(releases())).objects == (("a", 0),)
    await double.stop()


async def test_crd_that_is_not_installed_is_named_and_found_once_it_is(open_client: OpenClient) -> None:
    clock = ManualClock()
    empty = KubernetesDouble((KINDS[0],))
    url = await empty.start()
    async with open_client(url, clock) as client:
        with pytest.raises(
            Refused, match=r"does not have helmreleases\.helm\.toolkit\.fluxcd\.io in v2 or v2beta2: install its CRD"
        ):
            await client.objects(releases())

        await empty.stop()
        full = KubernetesDouble()
        await full.start(int(url.rpartition(":")[2]))
        full.put("helmreleases", release("a"))
        async with asyncio.timeout(10):
            while not full.watches:
                await clock.advance(1)
                await asyncio.sleep(0.002)
        assert (await client.objects(releases())).objects == (("a", 0),)
    await full.stop()


@pytest.mark.parametrize("namespace", ["..", "a/b", "A", "-a", "a" * 64, "a\n", "%2e%2e"])
async def test_namespace_is_never_more_than_a_part_of_the_path(
    double: KubernetesDouble, client: Kubernetes, namespace: str
) -> None:
    with pytest.raises(Refused, match="is not a name that Kubernetes allows"):
        await client.objects(Objects(PODS, namespace, "", project))
    assert double.requests["list", "pods"] == 0


async def test_selector_is_only_a_selector(double: KubernetesDouble, client: Kubernetes) -> None:
    with pytest.raises(Refused, match=r"400.*unable to parse requirement"):
        await client.objects(releases(selector="a=b&limit=1&watch=true"))


async def test_silent_watch_is_believed_only_while_the_api_answers(
    open_client: OpenClient, serve: Serve, hang: Handler, until: Until
) -> None:
    asked, status, stuck = 0, 200, asyncio.Event()
    stuck.set()

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal asked
        if "watch" in request.query:
            return await hang(request)
        if request.path == "/version":
            asked += 1
            await stuck.wait()
        return web.Response(text=EMPTY, status=status)

    clock = ManualClock()
    async with serve(answer) as url, open_client(url, clock) as client:
        await client.objects(ALL_PODS)
        await clock.advance(4.9)
        await client.objects(ALL_PODS)
        assert asked == 0  # it answered just now

        await clock.advance(0.1)
        await asyncio.gather(*(client.objects(ALL_PODS) for _ in range(9)))
        assert asked == 1  # once for all

        status = 403
        await clock.advance(5)
        await client.objects(ALL_PODS)  # an answer as well

        status = 503
        await clock.advance(5)
        with pytest.raises(Unavailable, match="503"):
            await client.objects(ALL_PODS)

        stuck.clear()
        asking = asyncio.create_task(client.objects(ALL_PODS))
        await until(lambda: asked == 4)
        await clock.advance(3)
        with pytest.raises(Unavailable, match="no answer within 3 s"):
            await asking
