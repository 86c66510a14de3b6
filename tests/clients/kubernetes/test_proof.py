"""What proves a value of the Kubernetes API: every page of the list, and a watch that has spoken."""

import asyncio
import json
import socket
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from scaler.clients.kubernetes.api import Api
from scaler.clients.kubernetes.client import Kubernetes
from scaler.clients.kubernetes.config import Cluster
from scaler.clients.kubernetes.json_stream import PageEnd, WholeList
from scaler.clients.kubernetes.json_text import BadAnswerError
from scaler.clients.kubernetes.objects import Objects
from scaler.clients.kubernetes.reader import ObjectsReader
from scaler.clients.kubernetes.settings import KubernetesSettings
from scaler.clients.kubernetes.shares import Shares
from scaler.core.domain import Found, Place
from scaler.core.errors import Fault, Unavailable
from scaler.demo.clock import ManualClock
from scaler.demo.kubernetes import KubernetesDouble
from tests.clients.kubernetes.conftest import (
    POD_NAMES,
    PODS,
    Handler,
    OpenClient,
    Serve,
    Until,
    name_of,
    patiently,
    pod,
)

# Pages that belong together


@pytest.mark.parametrize(
    ("pages", "why"),
    [
        pytest.param([("7", "", None, 3)], "", id="one page"),
        pytest.param([("7", "", 0, 3)], "", id="one page that tells that nothing is left"),
        pytest.param([("7", "a", 5, 3), ("7", "b", 2, 3), ("7", "", None, 2)], "", id="three pages"),
        pytest.param([("7", "a", 5, 3), ("7", "b", None, 3), ("7", "", None, 2)], "", id="told once"),
        pytest.param([("7", "a", None, 3), ("7", "", None, 0)], "", id="a selector, so that nothing is told"),
        pytest.param([("7", "", 5, 3)], "ends 5 objects too early", id="continue is missing"),
        pytest.param([("7", "a", 5, 3), ("7", "", 2, 3)], "ends 2 objects too early", id="continue is missing later"),
        pytest.param([("7", "a", 5, 3), ("8", "", None, 5)], "version 8 of a list at version 7", id="another version"),
        pytest.param([("7", "a", 5, 3), ("7", "", None, 3)], "page of 3 objects where 5", id="fewer than announced"),
        pytest.param([("7", "a", 5, 3), ("7", "", None, 0)], "page of 0 objects where 5", id="an empty last page"),
        pytest.param([("7", "a", 5, 3), ("7", "b", 4, 3)], "page of 3 objects where 5", id="counts disagree"),
        pytest.param([("7", "a", None, 3), ("7", "a", None, 3)], "leads back", id="names itself as the next"),
        pytest.param([("7", "a", 9, 1), ("7", "b", 8, 1), ("7", "a", 7, 1)], "leads back", id="a circle"),
    ],
)
def test_pages_make_a_list_only_together(pages: list[tuple[str, str, int | None, int]], why: str) -> None:
    whole = WholeList()
    *first, last = (PageEnd(*page) for page in pages)
    for page in first:
        whole.add(page)
        assert not whole.complete
    if why:
        with pytest.raises(BadAnswerError, match=why):
            whole.add(last)
    else:
        whole.add(last)
    assert whole.complete == (not why)


def page_text(names: list[str], **metadata: Any) -> str:
    items = [pod(name) for name in names]
    return json.dumps({"kind": "PodList", "metadata": {"resourceVersion": "7", **metadata}, "items": items})


@pytest.mark.parametrize(
    ("second", "why"),
    [
        pytest.param(page_text(["b"], resourceVersion="9"), "at version 9 of a list at version 7", id="version"),
        pytest.param(page_text(["b"], **{"continue": "next"}), "leads back", id="circle"),
        pytest.param(page_text([]), "page of 0 objects where 1 were left", id="empty"),
        pytest.param(page_text(["b"], remainingItemCount=3), "ends 3 objects too early", id="no continue"),
        pytest.param(page_text(["b"])[:-2], "breaks off", id="truncated"),
        pytest.param(page_text(["b"], remainingItemCount="1"), "no count", id="no count"),
    ],
)
async def test_a_list_that_lacks_a_page_is_a_fault_and_then_listed_from_the_start(
    open_client: OpenClient, serve: Serve, hang: Handler, second: str, why: str
) -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.query.get("watch"):
            return await hang(request)
        asked.append(request.query.get("continue", ""))
        if not asked[-1]:
            return web.Response(text=page_text(["a"], remainingItemCount=1, **{"continue": "next"}))
        return web.Response(text=second if asked.count("next") == 1 else page_text(["b"]))

    clock = ManualClock()
    async with serve(answer) as url, open_client(url, clock) as client:
        with pytest.raises(Unavailable, match=why):
            await client.objects(POD_NAMES)
        await clock.advance(1)
        assert (await patiently(clock, client, POD_NAMES)).objects == ("a", "b")
    assert asked == ["", "next", "", "next"]


async def test_a_list_that_began_while_the_api_was_asked_for_its_health_is_waited_for(
    double: KubernetesDouble, open_client: OpenClient, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock()
    for number in range(600):
        double.put("pods", pod(f"p{number}"))
    checking, checked, half, rest = (asyncio.Event() for _ in range(4))
    original = Api.page

    async def check(_api: Api) -> None:
        checking.set()
        await checked.wait()

    async def page(api: Api, place: Objects, pages: WholeList, keep: Callable[[Any], None]) -> None:
        if pages.version:
            half.set()
            await rest.wait()
        await original(api, place, pages, keep)

    async with open_client(double.url, clock) as client:
        assert len((await client.objects(POD_NAMES)).objects) == 600
        monkeypatch.setattr(Api, "check", check)
        monkeypatch.setattr(Api, "page", page)
        asking = asyncio.create_task(client.objects(POD_NAMES))
        await checking.wait()
        double.put("pods", pod("one more"))
        double.store.compact()
        await until(lambda: not client._watches[POD_NAMES]._known.is_set())
        await clock.advance(0.25)
        await half.wait()
        checked.set()
        await asyncio.sleep(0.01)
        assert not asking.done()
        rest.set()
        assert len((await asking).objects) == 601


# A watch that has spoken


async def test_the_proof_tells_what_was_seen(double: KubernetesDouble, open_client: OpenClient) -> None:
    clock, reported = ManualClock(), dict[Place, Found | Fault]()
    double.put("pods", pod("a"))
    async with open_client(double.url, clock) as client:
        reader = ObjectsReader(client)
        await reader.read([POD_NAMES], reported.__setitem__)
        await clock.advance(40)
        await reader.read([POD_NAMES], reported.__setitem__)
        await reader.close()
    found = reported[POD_NAMES]
    assert isinstance(found, Found)
    assert str(found.proof) == (
        f"whole: a list to its last page, and its watch at version {double.store.version}, which spoke 40 s before; "
        f"from: Kubernetes API {double.url}"
    )


async def test_a_deaf_watch_is_opened_again_and_after_two_minutes_its_objects_are_listed_anew(
    open_client: OpenClient, serve: Serve, hang: Handler, until: Until
) -> None:
    """Headers arrive, and nothing ever after: a connection that a load balancer has forgotten, or a proxy that holds back."""
    lists, watches, listing = 0, 0, asyncio.Event()
    listing.set()

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal lists, watches
        if request.query.get("watch"):
            watches += 1
            return await hang(request)
        lists += 1
        await listing.wait()
        return web.Response(text=page_text([f"of list {lists}"]))

    clock = ManualClock()
    async with serve(answer) as url, open_client(url, clock) as client:
        assert (await client.objects(POD_NAMES)).objects == ("of list 1",)
        await clock.advance(74)
        assert watches == 1
        await clock.advance(1)
        await until(lambda: watches == 2)
        await clock.advance(0.3)
        assert (await client.objects(POD_NAMES)).objects == ("of list 1",)  # within its two minutes

        listing.clear()
        await clock.advance(45)
        asking = asyncio.create_task(client.objects(POD_NAMES))
        await until(lambda: lists == 2)
        await clock.advance(4.5)
        with pytest.raises(Unavailable, match="the list is still running"):  # a fault, not the old value
            await asking
        listing.set()
        assert (await client.objects(POD_NAMES)).objects == ("of list 2",)
    assert (lists, watches) == (2, 3)


async def test_a_bookmark_is_enough(double: KubernetesDouble, open_client: OpenClient) -> None:
    clock = ManualClock()
    async with open_client(double.url, clock) as client:
        await client.objects(POD_NAMES)
        for _ in range(5):
            await clock.advance(60)
            double.bookmark()
            async with asyncio.timeout(10):
                while "spoke 0 s before" not in (await client.found(POD_NAMES)).proof.whole:  # noqa: ASYNC110 - nothing tells
                    await asyncio.sleep(0.002)
    assert double.requests["list", "pods"] == 1
    assert double.requests["watch", "pods"] == 1


async def test_a_peer_that_is_gone_without_a_word_is_noticed_by_its_connection(double: KubernetesDouble) -> None:
    api = Api(Cluster(double.url), ManualClock(), lambda *_: None, Shares(KubernetesSettings()))
    async with api._session.get(f"{double.url}/api/v1/pods?watch=1") as response:
        assert response.connection is not None
        assert response.connection.transport is not None
        used = response.connection.transport.get_extra_info("socket")
        assert used.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        assert [used.getsockopt(socket.IPPROTO_TCP, option) for option in options] == [15, 5, 3]
    await api.close()


async def test_a_defect_at_one_place_does_not_spoil_the_others(
    double: KubernetesDouble, client: Kubernetes, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, reported = Kubernetes.found, dict[Place, Found | Fault]()

    async def found(self: Kubernetes, place: Objects, **asked: Any) -> Found:
        if place.namespace == "bad":
            raise ZeroDivisionError
        return await original(self, place, **asked)

    monkeypatch.setattr(Kubernetes, "found", found)
    reader = ObjectsReader(client)
    with pytest.raises(ZeroDivisionError):  # which the store tells as a fault of what was not reported
        await reader.read([Objects(PODS, "bad", "", name_of), POD_NAMES], reported.__setitem__)
    assert list(reported) == [POD_NAMES]
    await reader.close()
